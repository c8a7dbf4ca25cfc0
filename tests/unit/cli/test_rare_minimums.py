"""The minimums, the threshold and the lowest F1 that `init` writes for a rare class."""

from __future__ import annotations

from pathlib import Path

import pytest

from closedloop.cli.examine.gates import describe_gates
from tests.unit.cli.test_minimums import drafted, found_in, open_without_models, orders


@pytest.mark.parametrize(
    ("counts", "months", "of_each", "together", "few"),
    [
        ((1485, 15), 12, 20, 2, False),
        ((297, 3), 12, 10, 4, True),
        ((7920, 80), 12, 30, 1, False),
        ((1485, 15), 4, 20, 2, False),
        ((297, 3), 4, 1, 1, True),
        ((1485, 15), 1, 7, 1, True),
        ((990, 990, 20), 12, 10, 1, True),
    ],
)
def test_windows_of_a_rare_class_judge_together(
    tmp_path: Path, counts: tuple[int, ...], months: int, of_each: int, together: int, few: bool
) -> None:
    """As many windows as hold 20 rows of the class, or 10, where half of all do; init says how
    many, the file lets twice as many judge, and doctor finds nothing that cannot be met."""
    frame = orders(*counts, months=months)
    found = found_in(frame)
    assert (found.of_each_class, found.together) == (of_each, together)
    assert bool(found.note) == (few or together > 1)
    if together == 1:
        return
    assert f"about {together} newest windows judge together, {of_each} rows of it" in found.note
    assert f"The first model comes with window {together + 1}, or later" in found.note
    assert ("close to enough" in found.note) == few
    written = drafted(frame.iloc[: 2 * sum(counts) * together], tmp_path)
    policy = written.use_case.policy
    assert policy.promotion.max_evaluation_windows == 2 * together
    assert policy.promotion.min_rows_per_class == policy.retraining.min_new_labels_per_class
    assert policy.rollback.probation_windows == together
    assert found.note in written.notes
    loop = open_without_models(written.use_case)
    assert describe_gates(loop) == "windows of this size can meet every minimum of loop.toml"


@pytest.mark.parametrize(
    ("counts", "lowest"),
    [
        ((1485, 15), 0.03),
        ((950, 50), 0.14),
        ((900, 100), 0.27),
        ((800, 200), None),
        ((500, 490, 10), None),
    ],
)
def test_a_rare_class_is_answered_from_another_probability_on(
    tmp_path: Path, counts: tuple[int, ...], lowest: float | None
) -> None:
    """Where answering it to every row has an F1 below two thirds of the usual limit: the threshold
    suits F1, and the limit is half more than that."""
    use_case = drafted(orders(*counts), tmp_path).use_case
    assert use_case.policy.promotion.min_f1 == (0.3 if lowest is None else lowest)
    assert use_case.decision.choose == ("fixed" if lowest is None else "f1")
