"""What people start from Prefect's page: going back, watching a promotion, and pruning, on real
MLflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from closedloop.cli.examine.findings import examine
from closedloop.decisions.checks import Action, Kind
from closedloop.decisions.retraining import decide_retraining
from closedloop.decisions.rollback import decide_rollback
from closedloop.errors import RegistryError
from closedloop.settings import Settings
from closedloop.turn.history import History
from closedloop.turn.move_by_hand import promote_by_hand
from closedloop.turn.observe import observe_window
from closedloop.turn.write_down import decide_turn
from tests.answers import describe_answers
from tests.flows.conftest import Place
from tests.flows.shown_pages import shown

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a flow on a place, in this process; returns what it returns."""
    from flows.monitor_flow import monitor_flow
    from flows.probation_flow import probation_flow
    from flows.prune_flow import prune_flow
    from flows.rollback_flow import rollback_flow
    from flows.train_and_compare_flow import train_and_compare_flow

    by_hand = (rollback_flow, probation_flow, prune_flow)
    known = (monitor_flow, train_and_compare_flow, *by_hand)
    flows: dict[str, Any] = {flow.name: flow for flow in known}

    def start_flow(place: Any, name: str, **parameters: Any) -> Any:
        monkeypatch.setenv("CLOSEDLOOP_HOME", str(place.settings.home))
        return flows[name](use_case=str(place.path), **parameters)

    return start_flow


def decided(place: Any, window: str) -> list[tuple[str, str]]:
    entries = place.open().journal.history("streamflow")
    return [
        (entry.decision.kind.value, entry.decision.action.value)
        for entry in entries
        if entry.decision.window == window
    ]


def live(place: Any) -> tuple[int | None, int | None]:
    registry = place.open().registry
    return registry.production(), registry.previous()


def test_a_person_goes_back_from_prefects_page(
    campaign_copy: Place, start: Callable[..., Any]
) -> None:
    """Without a version to the one that production replaced, with one to that: decided, carried out
    and shown; with nothing to go back to the run fails and says so."""
    place = campaign_copy
    assert live(place) == (2, 1)
    entry = place.open().journal.entry(start(place, "rollback"))
    assert (entry.decision.kind, entry.decision.version, entry.outcome, live(place)) == (
        Kind.ROLLBACK,
        1,
        "done",
        (1, None),
    )
    assert "requested by a person" in shown("rollback-decision")
    with pytest.raises(RegistryError, match="no previous version"):
        start(place, "rollback")
    start(place, "rollback", to=2)
    assert live(place) == (2, None)


@pytest.mark.nightly
def test_probation_decides_what_monitor_would_decide(
    make_place: Callable[..., Any], start: Callable[..., Any]
) -> None:
    """The campaign is over: the rollback rests on the evidence of a whole turn, to the last digit,
    with the facts that later turns look back to; the turn that follows finds it decided and trains
    nothing."""
    place = make_place(0, 2, 0, rows=3000)
    start(place, "monitor", window="month_000")
    start(place, "monitor", window="month_001")
    assert live(place) == (2, 1)
    turn = observe_window(History(place.open()))
    assert turn.rollback is not None
    number = start(place, "probation")
    loop = place.open()
    entry = loop.journal.entry(number)
    assert entry.decision == decide_rollback(turn.rollback, loop.use_case.policy)
    assert entry.turn.realised is not None
    known = replace(turn.details, production=2, drift=None, estimate=None)
    assert replace(entry.details, bundle=None) == known
    assert (entry.outcome, live(place)) == ("done", (1, None))
    assert "significantly worse than version 1" in shown("probation-decision")
    assert start(place, "monitor") == start(place, "probation") == number
    assert decided(place, "month_002") == [("rollback", "rollback")]
    assert len(place.open().registry.versions()) == 2


@pytest.mark.nightly
def test_a_watch_that_keeps_production_does_not_disturb_the_turn(
    make_place: Callable[..., Any], start: Callable[..., Any]
) -> None:
    """The campaign goes on: production stays, written down as the turn would; the turn that follows
    decides on a retraining as if nobody had watched, and whoever watches after it finds the same
    decision."""
    place = make_place(0, 2, 2, rows=2000)
    start(place, "monitor", window="month_000")
    start(place, "monitor", window="month_001")
    turn = observe_window(History(place.open()))
    number = start(place, "probation")
    assert decided(place, "month_002") == [("rollback", "keep")]
    policy = place.open().use_case.policy
    of_turn = place.open().journal.entry(start(place, "monitor"))
    assert of_turn.decision == decide_retraining(turn.evidence, policy)
    assert replace(of_turn.turn, production=None, run=None, bundle=None) == turn.details
    assert decided(place, "month_002")[:2] == [
        ("rollback", "keep"),
        (of_turn.decision.kind.value, of_turn.decision.action.value),
    ]
    assert start(place, "probation") == number


@pytest.mark.nightly
def test_with_nothing_on_probation_nothing_is_written(
    make_place: Callable[..., Any], start: Callable[..., Any]
) -> None:
    """The first model replaced none, and broken data judges nobody: the page says why, and the
    journal is as it was."""
    place = make_place(0, 0, 5)
    start(place, "monitor", window="month_000")
    before = place.open().journal.history("streamflow")
    assert start(place, "probation", window="month_001") == 0
    assert shown("probation-decision").startswith("# nothing on probation (month_001)")
    assert "there is no version to go back to" in shown("probation-decision")
    assert start(place, "probation", window="month_002") == 0
    assert "breaks the contract: " in shown("probation-decision")
    assert place.open().journal.history("streamflow") == before


@pytest.mark.nightly
def test_a_retraining_that_never_ran_is_superseded_by_the_next(
    make_place: Callable[..., Any], start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three were asked for, on the first, second and third window, and none was run. A training for
    the second settles the first one, whose window it learnt too, and leaves the third one open,
    which the doctor tells; that one is run as if nothing had been."""
    place = make_place(0, 2, 1)
    for window in ("month_000", "month_002", "month_001"):
        history = History(place.open(), window)
        decide_turn(history, observe_window(history))
    first, third, second = place.open().journal.history("streamflow")
    assert {entry.decision.action for entry in (first, second, third)} == {Action.RETRAIN}
    again = start(place, "train-and-compare", window="month_001", cause=second.id)
    found = {
        entry.id: (entry.outcome, str(entry.note))
        for entry in place.open().journal.history("streamflow")
    }
    assert found == {
        first.id: ("superseded", f"decision {second.id} (retrain) was carried out meanwhile"),
        second.id: ("done", ""),
        third.id: (None, ""),
        again: ("done", ""),
    }
    monkeypatch.setenv("CLOSEDLOOP_USE_CASE", str(place.path))
    told = {finding.check: finding for finding in examine(Settings(), None, {})}["journal"]
    assert (told.ok, f"decision {third.id} not carried out" in told.found) == (False, True)
    start(place, "monitor", window="month_002")
    assert place.open().journal.entry(third.id).outcome == "done"
    assert {finding.check: finding for finding in examine(Settings(), None, {})}["journal"].ok


@pytest.mark.nightly
def test_pruning_deletes_what_nothing_needs_and_nothing_else(
    make_place: Callable[..., Any], start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run shows what the pruning then deletes: the model of the version before the last one,
    reports, and old records. What is left loads, going to the pruned version is refused before
    anything is written, and the doctor finds all well."""
    place = make_place(0, 2, 1)
    start(place, "monitor", window="month_000")
    start(place, "monitor", window="month_001")
    start(place, "train-and-compare", window="month_002")
    loop = place.open()
    if live(place) != (3, 2):
        promote_by_hand(loop, 3)
    now = loop.records.now()
    for age in (0, 1, 40, 50):
        at, name = now - timedelta(days=age), loop.use_case.name
        loop.records.append(
            [
                describe_answers(
                    name, 1, {}, {"True": [0.5], "False": [0.5]}, request=f"r{age}", at=at
                )
            ]
        )
    asked = {"keep_versions": 0, "keep_reports": 0, "keep_days_of_records": 30}

    planned = start(place, "prune", **asked)
    assert (planned["versions"], planned["reports"], planned["records"], planned["kept_back"]) == (
        [1],
        1,
        2,
        "",
    )
    assert "would delete the model files of versions: 1" in shown("pruning")
    assert place.open().registry.load(1).measure_self_test() == 0
    assert start(place, "prune", **asked, dry_run=False) == planned
    assert "- deleted the model files of versions: 1" in shown("pruning")

    loop = place.open()
    assert [version.status for version in loop.registry.versions()] == [
        "pruned",
        "archived",
        "production",
    ]
    assert [loop.registry.load(number).measure_self_test() for number in (2, 3)] == [0, 0]
    kept = [
        path.name
        for path in place.settings.home.rglob("*")
        if path.name in ("facts.json", "drift_report.html")
    ]
    assert kept == ["facts.json"] * 2
    assert loop.records.count("streamflow").predictions == 2
    history = loop.journal.history("streamflow")
    for attempt in (lambda: promote_by_hand(loop, 1), lambda: start(place, "rollback", to=1)):
        with pytest.raises(
            RegistryError, match="version 1: wanted its files, got none, its files were pruned"
        ):
            attempt()
    assert loop.journal.history("streamflow") == history
    assert start(place, "prune", **asked, dry_run=False) == {
        **planned,
        "versions": [],
        "reports": 0,
        "records": 0,
        "records_before": None,
    }
    monkeypatch.setenv("CLOSEDLOOP_USE_CASE", str(place.path))
    found = {finding.check: finding for finding in examine(Settings(), None, {})}
    assert all(found[check].ok for check in ("journal", "MLflow", "production")), found


def test_every_parameter_of_a_form_is_described() -> None:
    """Whoever starts a flow from Prefect's page reads there what each field is for."""
    from prefect.utilities.callables import parameter_schema

    from flows import (
        alert_flow,
        answer_flow,
        housekeeping_flow,
        monitor_flow,
        probation_flow,
        prune_flow,
        rollback_flow,
        train_and_compare_flow,
    )

    for module in (
        *(alert_flow, answer_flow, housekeeping_flow, monitor_flow, probation_flow),
        *(prune_flow, rollback_flow, train_and_compare_flow),
    ):
        flow = getattr(module, module.__name__.rpartition(".")[2])
        silent = [
            name
            for name, about in parameter_schema(flow).properties.items()
            if not about.get("description")
        ]
        assert silent == [], f"{flow.name}: say under Args what {', '.join(silent)} is for"
