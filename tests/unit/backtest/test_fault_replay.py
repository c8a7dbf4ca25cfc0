"""A fault in one window is seen by the policies, never by the measuring; what learned from it and
what that cost comes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from closedloop.backtest.fault_replay import (
    FaultCase,
    choose_windows,
    measure_damage,
    measure_faults,
    put_in,
)
from closedloop.backtest.figures import Round
from closedloop.backtest.run import run_backtest
from closedloop.backtest.unchecked import first_recipe
from closedloop.bundle.frames import score_frame
from closedloop.metrics.auc import measure_auc
from closedloop.use_case.contract import UseCase
from tests.unit.streams import make_frame, make_past

LIVED = Round(
    1, "w0", "w1", ("keep",), "", 1, None, (), 0.8, None, None, promoted=False, rolled_back=False
)


def calm(windows: int) -> dict[str, pd.DataFrame]:
    return {f"w{number}": make_frame(number) for number in range(windows)}


def test_damage_is_what_the_faulty_rows_cost_the_same_model(tmp_path: Path) -> None:
    """Version 2 learned from w3 and answers two rounds: what it lost there is held against its own
    recipe on the clean rows; before and after it, losses have other reasons, and a candidate that
    never answered did no damage."""
    past = replace(make_past(tmp_path, calm(8)), replaced={"w3": make_frame(3).assign(left="yes")})
    trained, recipe = ("w0", "w1", "w2", "w3"), first_recipe(past.use_case)
    clean = past.compute.fit(recipe, tuple(past.labelled(name) for name in trained), past.use_case)
    rows = past.labelled("w6")
    reached = measure_auc(rows.labels, score_frame(clean, rows.frame))
    assert reached is not None
    learned = replace(
        LIVED, window="w5", next_window="w6", candidate=2, trained_on=trained, recipe=recipe
    )
    rounds = [
        replace(LIVED, next_auc=0.0),
        replace(learned, production=2, next_auc=reached - 0.25),
        replace(LIVED, production=2, next_window="w6", next_auc=reached + 0.1),
        replace(LIVED, production=3, next_auc=0.0),
    ]
    assert measure_damage(past, rounds) == pytest.approx(0.25)
    assert measure_damage(replace(past, replaced={"w7": make_frame(7)}), rounds) is None
    assert measure_damage(past, [learned]) is None


def test_windows_leave_time_for_what_comes_of_them(tmp_path: Path) -> None:
    """Spread over the rounds, the last one early enough for its labels and four rounds more."""
    past = make_past(tmp_path, calm(14))
    assert choose_windows(past) == ("w3", "w5", "w7")
    assert choose_windows(make_past(tmp_path, calm(6))) == ("w3",)


def test_a_fault_that_changes_nothing_here_is_left_out(tmp_path: Path) -> None:
    """What the fault refuses is no case; what it takes is seen in that window only."""
    past = make_past(tmp_path, calm(6))
    assert put_in(past, "w3", "no such fault", refuse) is None
    spoilt = put_in(past, "w3", "all_yes", lambda frame, *_: frame.assign(left="yes"))
    assert spoilt is not None
    assert set(spoilt.as_of("w5").read("w3")["left"]) == {"yes"}
    assert len(set(spoilt.as_of("w5").read("w2")["left"])) == 2
    assert len(set(spoilt.labelled("w3").labels)) == 2


def refuse(frame: pd.DataFrame, fault: str, use_case: UseCase, seed: int) -> pd.DataFrame:
    from closedloop.errors import UseCaseError

    raise UseCaseError(where="fault", wanted="another", got=fault, then="name one")


@pytest.mark.nightly
@pytest.mark.slow
def test_always_ships_what_the_loop_keeps_out(tmp_path: Path) -> None:
    """Swapped classes teach whoever trains on all: the loop's quarantine and gates keep its
    production unharmed."""
    found = run_backtest(
        make_past(tmp_path, calm(14)), ("always", "loop"), faults=("classes_swapped",)
    )
    figures = {policy.policy: policy for policy in found.faults}
    assert figures["always"].shipped == figures["always"].cases == 3
    assert figures["loop"].harmful == 0
    assert figures["loop"].shipped < 3
    shown = found.as_json()
    assert {case["window"] for case in shown["fault_cases"]} == {"w3", "w5", "w7"}


def test_false_alarms_are_counted_without_any_fault() -> None:
    """One round of four called a person, one window of four was quarantined."""
    clean = [replace(LIVED, window=f"w{number}") for number in range(4)]
    clean[1], clean[2] = (
        replace(clean[1], actions=("escalate",)),
        replace(clean[2], quarantined=("w1",)),
    )
    found = measure_faults(
        "loop",
        [
            FaultCase("loop", "f", "w0", False, False, 0.03),
            FaultCase("always", "f", "w0", False, False, 0.5),
        ],
        clean,
    )
    assert (found.cases, found.shipped, found.harmful, found.worst_damage) == (1, 1, 1, 0.03)
    assert (found.clean_escalated_share, found.clean_quarantined_share) == (0.25, 0.25)
