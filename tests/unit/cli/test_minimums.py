"""The minimums that `init` writes are enough to judge by, or are said to be less; those that no
window can meet are found by `doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.backtest.memory_registry import MemoryRegistry
from closedloop.cli.draft.policy import ENOUGH_OF_A_CLASS, Minimums, find_minimums
from closedloop.cli.examine.gates import describe_gates
from closedloop.decisions.checks import Outcome
from closedloop.decisions.promotion import decide_promotion
from closedloop.errors import ClosedLoopError, UseCaseError
from closedloop.settings import Settings
from closedloop.training.candidates import split_windows
from closedloop.turn.candidate import fit_candidate, make_evidence
from closedloop.turn.history import History
from closedloop.turn.open import Loop
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.windows.open_source import open_source
from tests.unit.cli.drafted import Drafted, draft
from tests.unit.streams import CONTENT, Frames, make_frame


def orders(*counts: int, months: int = 1) -> pd.DataFrame:
    """Rows with a key, the same counts of the classes in every month."""
    rng = np.random.default_rng(0)
    label = np.concatenate([rng.permutation(np.repeat(range(len(counts)), counts))] * months)
    return pd.DataFrame(
        {
            "order": [f"o{number:06d}" for number in range(len(label))],
            "amount": (rng.normal(0, 1, len(label)) + label).round(3),
            "month": [f"2025-{1 + number // sum(counts):02d}" for number in range(len(label))],
            "left": [f"class {number}" for number in label],
        }
    )


def found_in(frame: pd.DataFrame) -> Minimums:
    classes = tuple(sorted(frame["left"].unique()))
    return find_minimums(frame["left"], frame["month"], classes, frame["order"])


def open_without_models(use_case: UseCase, source: Any = None) -> Loop:
    """The use case before its first turn: nothing is registered."""
    nothing: Any = None
    registry: Any = MemoryRegistry(use_case.name)
    settings = Settings(home=use_case.path.parent, data=None)
    source = source or open_source(use_case)
    return Loop(use_case, settings, source, nothing, nothing, registry, nothing)


def drafted(frame: pd.DataFrame, folder: Path) -> Drafted:
    """`init` of the table; of one month, without windows."""
    one_window = frame["month"].nunique() == 1
    return draft(
        frame.drop(columns="month") if one_window else frame,
        folder,
        key="order",
        window_column=None if one_window else "month",
    )


@pytest.mark.parametrize(
    ("frame", "rows", "of_each", "share", "needed"),
    [
        (orders(21, 11), 10, 5, 0.5, "160 labelled rows would do, 5 times as many"),
        (orders(47, 22), 22, 11, 0.5, "180 labelled rows would do, 2.6 times as many"),
        (orders(24, 24, 24), 27, 9, 0.5, "170 labelled rows would do, 2.4 times as many"),
        (orders(*[16] * 8), 48, 6, 0.5, "440 labelled rows would do, 3.4 times as many"),
        (orders(*[180] * 9, 177), 300, 30, 0.25, ""),
        (orders(19_700, 300), 500, 30, 0.25, ""),
        (orders(400, 50), 67, 20, 0.5, ""),
        (orders(150, 150, months=4), 60, 30, 0.25, ""),
        (orders(270, 30, months=4), 45, 15, 0.5, "550 labelled rows would do, 1.8 times as long"),
        (orders(10, 10, months=6), 8, 4, 0.5, "110 labelled rows would do, 5.5 times as long"),
    ],
)
def test_minimums_are_enough_or_said_to_be_less(
    frame: pd.DataFrame, rows: int, of_each: int, share: float, needed: str
) -> None:
    """At least 20 of the rarest class; where the held-out part of the first window has fewer, what
    it has, with the rows that a window would need."""
    found = found_in(frame)
    assert (found.judged, found.of_each_class, found.holdout_share) == (rows, of_each, share)
    assert (found.of_each_class < ENOUGH_OF_A_CLASS) == bool(needed)
    assert found.note.endswith(f"Windows of about {needed}" if needed else "")
    assert f"({rows:,} rows, {of_each} of each class)" in found.note or not needed


@pytest.mark.parametrize(
    "frame",
    [
        orders(21, 11),
        orders(*[16] * 8),
        orders(400, 50),
        orders(270, 30, months=4),
        orders(10, 10, months=6),
    ],
)
def test_the_first_window_meets_what_init_writes(tmp_path: Path, frame: pd.DataFrame) -> None:
    """The part that is held out in training has the written rows, doctor finds nothing, and the
    file and the screen say the same about windows that are too small."""
    written = drafted(frame, tmp_path)
    loop = open_without_models(written.use_case)
    rules = written.use_case.policy.promotion
    first = loop.compute.read_window(
        loop.source, loop.source.windows()[0], 0, written.use_case, None
    ).labelled
    judging = split_windows((first,), written.use_case).evaluation.labels
    assert rules.min_rows <= len(judging)
    assert rules.min_rows_per_class <= np.bincount(judging).min()
    watch = written.use_case.policy.rollback
    assert watch.min_rows_per_class <= rules.min_rows_per_class
    assert describe_gates(loop) == "windows of this size can meet every minimum of loop.toml"
    comment = " ".join(line.removeprefix("# ") for line in written.text.splitlines())
    note = found_in(frame).note
    assert note in written.notes
    assert note in comment
    assert bool(note) == (rules.min_rows_per_class < ENOUGH_OF_A_CLASS)


def test_a_small_table_gets_its_first_model_without_an_edit(tmp_path: Path) -> None:
    """32 rows with 11 positives: the first candidate has enough rows to be judged."""
    loop = open_without_models(drafted(orders(21, 11), tmp_path).use_case)
    history = History(loop, "shop")
    history.__dict__ |= {"_versions": (), "entries": ()}  # nothing has happened yet
    candidate = fit_candidate(history)
    decision = decide_promotion(
        make_evidence(history, candidate, candidate.scorer, 0.0), loop.use_case.policy
    )
    enough = next(check for check in decision.checks if check.claim == "enough evaluation rows")
    assert enough.outcome is Outcome.HOLDS, enough.got


def test_a_fragment_at_the_beginning_lowers_no_minimum() -> None:
    """A first month of 12 rows before months of 1,000 is not what the others are measured by."""
    months = orders(500, 500, months=4)
    found = found_in(months.iloc[988:])
    assert (found.judged, found.of_each_class, found.note) == (112, 30, "")


def test_a_class_that_no_part_can_judge_is_told(tmp_path: Path) -> None:
    """The only row of a class is not held out: nothing can be promoted, and init and doctor
    say so instead of writing a number that would help."""
    written = drafted(orders(41, 1), tmp_path)
    assert "Where a class has no row at all, nothing can be promoted" in written.notes
    with pytest.raises(ClosedLoopError) as found:
        describe_gates(open_without_models(written.use_case))
    assert "has 0 of the rarest class" in found.value.got
    assert "min_rows_per_class =" not in found.value.then


def test_no_row_with_a_label_and_a_window_is_refused() -> None:
    """Minimums of nothing would be a crash or a guess."""
    with pytest.raises(UseCaseError, match="wanted rows with a label and a window, got none"):
        found_in(orders(5, 5).assign(month="(missing)"))


TOO_SMALL = "the held-out part of 2026-01, which judges a first model, has 3 labelled rows"
GOLD = {"name": "gold", "column": "plan", "values": ["gold"], "protected": True}


@pytest.mark.parametrize(
    ("changed", "got", "then"),
    [
        (
            {"promotion": {"min_rows": 10}},
            f"min_rows = 10 in [policy.promotion], where {TOO_SMALL}",
            "write min_rows = 3 in [policy.promotion]; or raise holdout_share in [training] "
            "(at most 0.5); or make windows longer: ",
        ),
        (
            {"promotion": {"min_rows": 30}},
            f"{TOO_SMALL}; min_rows = 30 in [policy.promotion], where the usual window has 20",
            "write min_rows = 3 in [policy.promotion]; or raise",
        ),
        (
            {"promotion": {"min_rows_per_class": 15}},
            "min_rows_per_class = 15 in [policy.promotion], where the usual window has 9 of the "
            "rarest class",
            "write min_rows_per_class = 1 in [policy.promotion]; or raise",
        ),
        (
            {"retraining": {"min_new_labels": 500}},
            "min_new_labels = 500 in [policy.retraining], where the 5 windows after which age asks "
            "for a retraining have 100 labelled rows",
            "write min_new_labels = 100 in [policy.retraining]; or make windows longer: ",
        ),
        ({"retraining": {"min_new_labels": 500, "age_trigger": False}}, "", ""),
        (
            {"rollback": {"min_rows": 50}},
            "min_rows = 50 in [policy.rollback], where the 2 windows of a probation together have "
            "40 labelled rows",
            "write min_rows = 40 in [policy.rollback]; or make windows longer: ",
        ),
        ({"rollback": {"min_rows": 50, "probation_windows": 3}}, "", ""),
        (
            {"rollback": {"min_rows_per_class": 20}},
            "min_rows_per_class = 20 in [policy.rollback], where the 2 windows of a probation "
            "together have 18 of the rarest class",
            "write min_rows_per_class = 18 in [policy.rollback]; or make windows longer: ",
        ),
        ({"rollback": {"min_rows": 50, "enabled": False}}, "", ""),
        (
            {"promotion": {"min_slice_rows": 30}, "slices": [GOLD]},
            "min_slice_rows = 30 in [policy.promotion], where the protected slice gold of the "
            "usual window has 10 labelled rows",
            "write min_slice_rows = 10 in [policy.promotion]; or make windows longer: ",
        ),
        ({"promotion": {"min_slice_rows": 30}, "slices": [{**GOLD, "protected": False}]}, "", ""),
        ({"promotion": {"min_rows": 10}, "training": {"holdout_share": 0.5}}, "", ""),
        ({"promotion": {"min_rows_per_class": 15, "max_evaluation_windows": 2}}, "", ""),
        (
            {"promotion": {"min_rows_per_class": 30, "max_evaluation_windows": 2}},
            "min_rows_per_class = 30 in [policy.promotion], where the 2 windows that may judge "
            "together have 18 of the rarest class",
            "write min_rows_per_class = 18 in [policy.promotion]; or make windows longer: ",
        ),
        ({}, "", ""),
    ],
)
def test_doctor_finds_gates_that_cannot_be_met(
    tmp_path: Path, changed: dict[str, Any], got: str, then: str
) -> None:
    """Windows of 20 rows, of which 3 are held out: each minimum that asks for more is named with
    what is there and the line to write, and nothing else is."""
    policy: dict[str, Any] = {
        "promotion": {"min_rows": 3, "min_rows_per_class": 1, "min_slice_rows_per_class": 1},
        "retraining": {"min_new_labels": 20, "min_new_labels_per_class": 2},
        "rollback": {"min_rows": 10, "min_rows_per_class": 1},
    }
    for table, numbers in policy.items():
        numbers |= changed.pop(table, {})
    content = {**CONTENT, "policy": policy, **changed}
    use_case = parse_use_case(content, tmp_path / "loop.toml")
    frames = {f"2026-{place + 1:02d}": make_frame(place, rows=20) for place in range(5)}
    loop = open_without_models(use_case, Frames(frames))
    if not got:
        assert describe_gates(loop) == "windows of this size can meet every minimum of loop.toml"
        return
    with pytest.raises(ClosedLoopError) as found:
        describe_gates(loop)
    assert got in found.value.got
    assert found.value.then.startswith(then)
