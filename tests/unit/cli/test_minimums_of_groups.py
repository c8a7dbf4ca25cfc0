"""Minimums where rows belong together: `init` writes as many groups as windows have, and `doctor`
counts them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from closedloop.cli.examine.gates import describe_gates
from closedloop.errors import ClosedLoopError, UseCaseError
from closedloop.training.candidates import split_windows
from closedloop.use_case.loop_toml import parse_use_case
from tests.unit.cli.drafted import draft
from tests.unit.cli.test_minimums import open_without_models
from tests.unit.streams import CONTENT, Frames


def bookings(each: int, customers: int = 120) -> pd.DataFrame:
    """Four months with the same customers, each with so many rows a month of one class."""
    who = np.tile(np.repeat(np.arange(customers), each), 4)
    rows, rng = len(who), np.random.default_rng(0)
    return pd.DataFrame(
        {
            "order": [f"o{number:06d}" for number in range(rows)],
            "customer": [f"c{number}" for number in who],
            "amount": (rng.normal(0, 1, rows) + who % 4 // 3).round(3),
            "month": [f"2025-{1 + 4 * place // rows:02d}" for place in range(rows)],
            "left": np.where(who % 4 == 3, "yes", "no"),
        }
    )


def test_init_counts_groups_and_doctor_agrees(tmp_path: Path) -> None:
    """120 customers with 10 rows each, 30 of the rarest class: as rows a quarter of a month has
    more than 30 of each class, as customers half of it has fewer than 20. What is written can be
    met, the column is no feature, and both the file and the screen say that groups are counted."""
    frame = bookings(10)
    plain = draft(frame, tmp_path, key="order")
    assert plain.use_case.policy.promotion.min_rows_per_class == 30
    assert "customer" in plain.use_case.columns
    written = draft(frame, tmp_path, key="order", group="customer")
    assert written.use_case.group == "customer"
    assert "customer" not in written.use_case.columns
    assert written.use_case.training.holdout_share == 0.5
    rules = written.use_case.policy.promotion
    assert 5 <= rules.min_rows_per_class < 20
    assert "30 groups of the rarest class" in written.notes
    assert "needs 20 groups of each class" in written.notes
    loop = open_without_models(written.use_case)
    assert describe_gates(loop) == "windows of this size can meet every minimum of loop.toml"
    name = loop.source.windows()[0]
    first = loop.compute.read_window(loop.source, name, 0, written.use_case, None).labelled
    judging = split_windows((first,), written.use_case).evaluation
    customers = judging.frame["customer"][judging.labels == 1].nunique()
    assert rules.min_rows_per_class <= customers < 20


def test_a_column_that_init_shall_group_by_must_be_there(tmp_path: Path) -> None:
    """A name that the table lacks is an error with the nearest one."""
    with pytest.raises(UseCaseError, match="did you mean customer"):
        draft(bookings(2), tmp_path, group="custmer")


def test_doctor_counts_a_customer_of_two_windows_once(tmp_path: Path) -> None:
    """30 customers of the rarest class come every month, so no probation ever sees more of them,
    however many rows they have; a protected slice counts them, too."""
    content = {
        **CONTENT,
        "group": "customer",
        "columns": {"amount": {"type": "numeric"}},
        "slices": [{"name": "dear", "column": "amount", "minimum": 0.0, "protected": True}],
        "policy": {
            "promotion": {
                "min_rows": 10,
                "min_rows_per_class": 5,
                "min_slice_rows": 10,
                "min_slice_rows_per_class": 31,
            },
            "retraining": {"min_new_labels": 20, "min_new_labels_per_class": 100},
            "rollback": {"min_rows": 10, "min_rows_per_class": 31},
        },
    }
    use_case = parse_use_case(content, tmp_path / "loop.toml")
    frames = {str(name): rows for name, rows in bookings(4).groupby("month")}
    with pytest.raises(ClosedLoopError) as found:
        describe_gates(open_without_models(use_case, Frames(frames)))
    assert (
        "min_rows_per_class = 31 in [policy.rollback], where the 2 windows of a probation together "
        "have 30 groups of the rarest class"
    ) in found.value.got
    assert "protected slice dear of the usual window has 30 groups" in found.value.got
    assert "min_new_labels" not in found.value.got
