"""Facts for people, from entries of a journal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from closedloop.decisions.checks import Action, Decision, Kind, Role, make_check
from closedloop.decisions.drift_report import ColumnDrift
from closedloop.decisions.evidence import LoopState
from closedloop.decisions.policy import Policy
from closedloop.metrics.importance import ColumnImportance, Importance
from closedloop.storage.details import DriftFacts, PromotionDetails, RealisedFacts, TurnDetails
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.live_at import name_decider
from closedloop.use_case.schedule import Schedule
from closedloop.views.drift import nearness, weigh
from closedloop.views.next_turn import find_next_time, tell_next
from closedloop.views.performance import read_drift, read_realised
from closedloop.views.waiting import find_waiting_for_a_person
from closedloop.views.words import outcome_of, tell_age, tell_span, title_of

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def make_entry(
    number: int,
    kind: Kind = Kind.RETRAINING,
    action: Action = Action.KEEP,
    window: str = "w1",
    *,
    version: int | None = 1,
    details: TurnDetails | PromotionDetails | None = None,
    outcome: str | None = "done",
    cause: int | None = None,
    origin: Origin = Origin.LOOP,
) -> Entry:
    checks = (make_check("the claim", False, Role.GATE, "more", "less"),)
    decision = Decision(kind, action, window, checks, version)
    facts = details or TurnDetails(1)
    return Entry(number, f"k{number}", "shop", decision, facts, origin, cause, NOW, outcome)


def measured(window: str, auc: float | None, lower: float | None = None) -> TurnDetails:
    return TurnDetails(
        1, drift=DriftFacts(0.2), realised=RealisedFacts(window, auc, realised_lower=lower)
    )


def test_the_newest_measurement_of_a_window_and_version_counts() -> None:
    """A window that was judged twice has one point; labels that came later are told as late."""
    entries = [
        make_entry(1, window="w1", details=measured("w1", 0.7, 0.6)),
        make_entry(2, window="w2", details=measured("w1", 0.8, 0.7)),
        make_entry(3, window="w2", details=replace(measured("w1", 0.6, 0.5), production=2)),
        make_entry(4, window="w3", details=TurnDetails(1)),
    ]
    points = read_realised(entries)
    assert [(point.window, point.version, point.value) for point in points] == [
        ("w1", 1, 0.8),
        ("w1", 2, 0.6),
    ]
    assert [point.late for point in points] == [True, True]


def test_an_entry_without_its_interval_does_not_replace_one_that_has_it() -> None:
    """A witness of a quarantine repeats the AUC alone; entries of older releases have none."""
    entries = [
        make_entry(1, details=measured("w1", 0.7, 0.6)),
        make_entry(2, Kind.QUARANTINE, details=measured("w1", 0.7)),
        make_entry(3, details=measured("w0", 0.5)),
    ]
    assert [point.lower for point in read_realised(entries)] == [0.6, None]


def test_drift_begins_with_the_first_window_in_which_it_was_measured() -> None:
    """Before there was a model there is nothing to draw; a gap later on stays a gap."""
    shares = (None, 0.1, None, 0.3)
    entries = [
        make_entry(number, window=f"w{number}", details=TurnDetails(drift=DriftFacts(share)))
        for number, share in enumerate(shares)
    ]
    assert [point.drift_share for point in read_drift(entries)] == [0.1, None, 0.3]


def test_what_waits_is_the_newest_escalation_and_not_one_that_time_has_settled() -> None:
    """A turn after the escalated one settles it, and so does a newer decision on a candidate."""
    escalated = make_entry(1, action=Action.ESCALATE, outcome=None)
    assert [item.decision for item in find_waiting_for_a_person([escalated], ())] == [1]
    assert find_waiting_for_a_person([escalated, make_entry(2, window="w2")], ()) == ()
    candidate = make_entry(3, Kind.PROMOTION, Action.ESCALATE, details=PromotionDetails(1))
    rejected = make_entry(4, Kind.PROMOTION, Action.REJECT, details=PromotionDetails(1))
    assert [item.decision for item in find_waiting_for_a_person([candidate], None)] == [3]
    assert find_waiting_for_a_person([candidate, rejected], None) == ()


def test_what_was_not_carried_out_waits_and_says_what_to_do() -> None:
    """A retraining without an outcome may be running; a person is told how to finish it."""
    (waits,) = find_waiting_for_a_person([make_entry(1, action=Action.RETRAIN, outcome=None)], None)
    assert waits.decision == 1
    assert "closedloop monitor" in waits.then
    (changed,) = find_waiting_for_a_person([], None, faults=["decision 3 was changed"])
    assert changed.why == "decision 3 was changed"
    assert "closedloop doctor" in changed.then


def test_the_weighted_share_counts_what_production_needs() -> None:
    """A column that drifted weighs what production loses without it; one that hurts weighs 0."""
    columns = [
        ColumnDrift(name, "m", score, 1.0) for name, score in (("a", 2.0), ("b", 0.5), ("c", 9.0))
    ]
    losses = (
        ColumnImportance("a", 0.3, 0.0),
        ColumnImportance("b", 0.1, 0.0),
        ColumnImportance("c", -1.0, 0.0),
    )
    importance = Importance("w", 10, 5, 0.8, None, losses)
    assert weigh(columns, importance) == pytest.approx(0.75)
    assert weigh(columns, None) is None
    assert weigh([ColumnDrift("a", "m", None, None)], importance) is None
    assert nearness(ColumnDrift("a", "m", 0.3, 0.1)) == pytest.approx(3)
    assert nearness(None) is None


def test_the_next_turn_is_told_from_policy_and_state() -> None:
    """Reasons to train, what forbids it, and how long production can still be called back."""
    policy = Policy()
    assert "first one" in tell_next(LoopState(), 0, policy)[0]
    state = LoopState(2, 1, 4, promoted_at=5, trained_at=(5,))
    told = tell_next(state, 6, policy)
    assert "30% of the columns drifted" in told[0]
    assert "cooldown" in told[1]
    assert "on probation" in told[2]
    settled = tell_next(replace(state, promoted_at=0, trained_at=(0,)), 9, policy)
    assert len(settled) == 1


def test_the_schedule_names_the_next_turn_in_its_own_time_zone() -> None:
    """Six in Berlin is five in UTC in November."""
    found = find_next_time(Schedule("0 6 * * *", "Europe/Berlin"), NOW)
    assert found == datetime(2026, 11, 30, 5, tzinfo=UTC)


def test_decisions_and_times_are_told_in_words() -> None:
    """A title for every kind and action, also for one that has none yet."""
    assert title_of(make_entry(1, Kind.PROMOTION, Action.PROMOTE, version=4).decision) == (
        "Version 4 goes live"
    )
    assert title_of(make_entry(1, Kind.SERVING, Action.ACCEPT).decision) == "serving: accept"
    opened = make_entry(1, action=Action.RETRAIN, outcome=None)
    assert outcome_of(opened) == "not carried out yet"
    assert outcome_of(make_entry(1, action=Action.ESCALATE, outcome=None)) == ""
    assert outcome_of(make_entry(1, outcome="superseded")) == "not carried out"
    assert tell_age(NOW - timedelta(hours=3), NOW) == "3 hours ago"
    assert tell_span(timedelta(days=40)) == "40 days"


def test_every_action_of_the_loop_has_a_title() -> None:
    """What the loop decides by itself is never told by the names of the code alone."""
    silent = [
        (kind, action)
        for kind, actions in {
            Kind.RETRAINING: (Action.RETRAIN, Action.KEEP, Action.ESCALATE),
            Kind.PROMOTION: (Action.PROMOTE, Action.REJECT, Action.ESCALATE),
            Kind.ROLLBACK: (Action.ROLLBACK, Action.KEEP),
            Kind.QUARANTINE: (Action.QUARANTINE, Action.RELEASE, Action.KEEP),
            Kind.SERVING: (Action.SERVE,),
            Kind.ACCEPTANCE: (Action.ACCEPT,),
            Kind.OUTSIDE: (Action.ACCEPT, Action.RETURN, Action.ESCALATE, Action.KEEP),
        }.items()
        for action in actions
        if title_of(make_entry(1, kind, action).decision) == f"{kind.value}: {action.value}"
    ]
    assert silent == []


def test_a_candidate_that_waits_comes_first_until_it_is_answered() -> None:
    """What asks for a yes or no is told with how it can be answered; the answer ends it."""
    wait = replace(
        make_entry(5, Kind.PROMOTION, Action.WAIT, version=3, details=PromotionDetails(1)),
        outcome=None,
    )
    escalated = make_entry(6, action=Action.ESCALATE, window="w2")
    found = find_waiting_for_a_person([wait, escalated], None, {5: "within 2 windows"})
    assert [item.decision for item in found] == [5, 6]
    assert (found[0].approval, found[0].then) == (True, "within 2 windows")
    assert "Version 3" in found[0].title
    answer = make_entry(7, Kind.PROMOTION, Action.PROMOTE, version=3, details=PromotionDetails(1))
    answered = replace(answer, key="shop/approval/5", origin=Origin.PERSON)
    told = find_waiting_for_a_person([wait, escalated, answered], None)
    assert [item.decision for item in told] == [6]


def test_who_decided_is_told_by_name_where_it_is_known() -> None:
    """The loop, a person whose name was kept, and one whose name was not."""
    by_name = PromotionDetails(1, by="ann@desk", why="it is fine")
    person = make_entry(1, Kind.PROMOTION, Action.PROMOTE, details=by_name, origin=Origin.PERSON)
    assert name_decider(person) == "ann@desk"
    assert name_decider(replace(person, details=PromotionDetails(1))) == "a person"
    assert name_decider(make_entry(1)) == "the loop"
