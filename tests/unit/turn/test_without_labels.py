"""A turn says what AUC production should reach where no label has come, and later how that did;
nothing depends on it."""

from __future__ import annotations

import io
from dataclasses import astuple, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from closedloop.backtest.memory_registry import MemoryRegistry
from closedloop.backtest.replay import Past, ReplayParts, fit_first
from closedloop.bundle.frames import score_frame
from closedloop.cli.decision_view import show_decision, show_history
from closedloop.cli.status_view import show_status
from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.decisions.evidence import Estimate
from closedloop.metrics.auc import measure_auc
from closedloop.storage.details import EstimateFacts, RealisedFacts, TurnDetails, read_details
from closedloop.storage.engine import open_engine
from closedloop.storage.entry import Entry
from closedloop.storage.journal import Journal
from closedloop.storage.rows import Origin
from closedloop.turn.compute import Compute
from closedloop.turn.history import History
from closedloop.turn.observe import observe_window
from closedloop.turn.write_down import decide_turn
from tests.unit.streams import make_frame, make_frames, make_past, make_use_case

pytestmark = pytest.mark.slow


class Place:
    """A past whose version 1 is live, as the live loop would look at it: nothing is remembered but
    by the journal."""

    def __init__(self, past: Past, compute: Any = None) -> None:
        self.past, self.compute = past, compute or Compute()
        self.journal, self.registry = (
            Journal(open_engine("sqlite://")),
            MemoryRegistry(past.use_case.name),
        )
        self.first = fit_first(past)
        self.registry.promote(
            self.registry.add(self.first, self.first.facts.evaluation_window),
            instead_of=None,
            reason="installed",
        )

    def look(self, window: str) -> History[ReplayParts]:
        return History(
            ReplayParts(
                self.past.use_case,
                self.past.as_of(window),
                self.journal,
                self.registry,
                self.compute,
            ),
            window,
        )

    def turn(self, window: str) -> TurnDetails:
        """Observe and write down; returns the details as the journal has them."""
        history = self.look(window)
        return decide_turn(history, observe_window(history)).turn


def steady(folder: Path, **named: Any) -> Past:
    return make_past(folder, make_frames(turns_at=100), **named)


def estimate_of(details: TurnDetails) -> tuple[float | None, ...]:
    assert details.estimate is not None
    return astuple(details.estimate)


def make_three(seed: int) -> pd.DataFrame:
    """Rows of three classes, the dearer the likelier by what is spent."""
    frame = make_frame(seed, rows=600)
    noisy = frame["spend"] + np.random.default_rng(seed + 100).normal(0, 1, len(frame))
    return frame.assign(left=np.select([noisy < -0.6, noisy < 0.6], ["no", "maybe"], "yes"))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_window_without_labels_has_an_estimate(tmp_path: Path, classes: int) -> None:
    """w3 is current, its labels are not due: learnt on w2, which version 1 had not seen, the band
    holds what the hidden labels show."""
    past = steady(tmp_path)
    if classes == 3:
        target = {"column": "left", "classes": ["no", "maybe", "yes"]}
        use_case = make_use_case(tmp_path, target=target, labels={"delay_windows": 1})
        past = replace(
            make_past(tmp_path, {f"w{number}": make_three(number) for number in range(6)}),
            use_case=use_case,
        )
    place = Place(past)
    auc, lower, upper = estimate_of(place.turn("w3"))
    hidden = past.labelled("w3")
    truth = measure_auc(hidden.labels, score_frame(place.first.scorer, hidden.frame))
    assert lower is not None
    assert auc is not None
    assert upper is not None
    assert lower < auc < upper < lower + 0.2
    assert truth is not None
    assert lower <= truth <= upper


def test_the_same_turn_has_the_same_estimate(tmp_path: Path) -> None:
    """Chance plays no part in what a turn writes down."""
    first, again = (Place(steady(tmp_path)).turn("w3") for _ in range(2))
    assert estimate_of(first) == estimate_of(again) != (None, None, None)


def test_nothing_is_learnt_on_rows_that_production_knows(tmp_path: Path) -> None:
    """Every label that is due was trained on: the estimate is not known, rather than too good."""
    assert estimate_of(Place(steady(tmp_path, first=3)).turn("w3")) == (None, None, None)


def test_where_labels_have_told_nothing_is_estimated(tmp_path: Path) -> None:
    """Labels without delay: the current window's realised AUC is there, an estimate would add
    nothing but its cost."""
    found = Place(steady(tmp_path, delay=0)).turn("w3")
    assert found.realised is not None
    assert found.realised.realised_on == "w3"
    assert estimate_of(found) == (None, None, None)


def test_an_estimate_is_held_against_the_truth(tmp_path: Path) -> None:
    """The turn that judges w3 finds in the journal what was estimated for it; the turn before had
    nothing to hold."""
    place = Place(steady(tmp_path))
    then, now = place.turn("w3"), place.turn("w4")
    assert then.realised is not None
    assert then.realised.estimated_for_judged is None
    assert now.realised is not None
    assert now.realised.realised_on == "w3"
    assert now.realised.estimated_for_judged == estimate_of(then)[0] is not None


def test_an_estimate_of_another_production_is_not_held_against_this_one(tmp_path: Path) -> None:
    """A promotion between estimate and labels: two models' numbers are not put beside each
    other."""
    place = Place(steady(tmp_path))
    assert estimate_of(place.turn("w3"))[0] is not None
    place.registry.promote(place.registry.add(place.first, "w1"), instead_of=1, reason="another")
    now = place.turn("w4")
    assert now.realised is not None
    assert now.realised.realised_on == "w3"
    assert now.realised.estimated_for_judged is None


def test_labels_that_are_not_trusted_calibrate_nothing(tmp_path: Path) -> None:
    """An earlier turn quarantined w3: what scores are worth is learnt on w2 instead."""
    place = Place(steady(tmp_path))
    found = estimate_of(place.turn("w4"))
    decision = Decision(Kind.RETRAINING, Action.KEEP, "w3", ())
    doubting = Place(place.past)
    doubting.journal.write(
        "earlier",
        "shop",
        decision,
        details=TurnDetails(realised=RealisedFacts("w3", 0.2, True)),
    )
    history = doubting.look("w4")
    policy, seed = place.past.use_case.policy, place.past.use_case.training.seed
    expected = [
        Compute().estimate_without_labels(
            history.read(name).labelled.labels,
            history.answers(name, labelled=True),
            history.answers("w4"),
            policy.promotion.confidence,
            seed,
        )
        for name in ("w3", "w2")
    ]
    assert [estimate and estimate.value for estimate in expected] == [
        found[0],
        estimate_of(doubting.turn("w4"))[0],
    ]
    assert expected[0] != expected[1]


class Failing(Compute):
    """Whatever can go wrong."""

    def estimate_without_labels(self, *_: Any, **__: Any) -> Estimate | None:
        raise ZeroDivisionError("no such luck")


def test_a_failing_estimate_does_not_fail_the_turn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The turn decides as ever, the estimate is not known, and the log says why."""
    found = Place(steady(tmp_path), Failing()).turn("w3")
    assert estimate_of(found) == (None, None, None)
    assert found.drift is not None
    assert found.drift.drift_share is not None
    assert "AUC without labels of w3 is not known: ZeroDivisionError: no such luck" in caplog.text


def test_a_replay_does_not_pay_for_it(tmp_path: Path) -> None:
    """With the memory of replays nothing is estimated, and all else in the details is the same."""
    past = steady(tmp_path)
    live, replayed = Place(past).turn("w3"), Place(past, past.compute).turn("w3")
    assert estimate_of(replayed) == (None, None, None)
    assert replace(live, estimate=EstimateFacts()) == replayed


TOLD: dict[str, Any] = {
    "estimated_auc": 0.8312,
    "estimated_lower": 0.801,
    "estimated_upper": 0.859,
    "production": 1,
    "estimated_for_judged": 0.829,
    "realised_on": "w2",
    "realised_auc": 0.791,
}
SENTENCES = (
    "AUC without labels: about 0.83 [0.80, 0.86], if scores still mean what they meant",
    "AUC without labels of w2: estimated 0.83, realised 0.79",
)


def shown(what: str, details: dict[str, Any]) -> str:
    """What a person reads of one decision, of the history, or of the status."""
    entry = Entry(
        7,
        "k",
        "shop",
        Decision(Kind.RETRAINING, Action.KEEP, "w3", ()),
        read_details(TurnDetails, details),
        Origin.LOOP,
        None,
        datetime(2026, 1, 1, tzinfo=UTC),
        "done",
    )
    text = io.StringIO()
    console = Console(file=text, width=160)
    if what == "why":
        show_decision(console, entry, every_check=True)
    elif what == "history":
        show_history(console, [entry])
    else:
        found = {"window": "w3", **details} if details else None
        show_status(
            console,
            {
                "use_case": "shop",
                "production": 1,
                "previous": None,
                "waiting": [],
                "moved": (),
                "disagreement": None,
                "damaged": [],
                "kept_out": [],
                "reference": None,
                "versions": [],
                "last_decision": None,
                "records": {"predictions": 0, "labels": 0},
                "open_decisions": [],
                "standstill": None,
                "housekeeping": {"told": []},
                "without_labels": found,
            },
        )
    return text.getvalue()


@pytest.mark.parametrize("what", ["why", "history", "status"])
def test_people_are_told(what: str) -> None:
    """The estimate with its condition, and how the one before did, each in a sentence; where
    nothing is known nothing is said."""
    assert all(sentence in shown(what, TOLD) for sentence in SENTENCES)
    assert "without labels" not in shown(what, {})
    assert SENTENCES[1] not in shown(what, {**TOLD, "estimated_for_judged": None})
