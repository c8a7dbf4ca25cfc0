"""Which rows of a window an earlier window holds already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.windows.prepare import prepare
from closedloop.windows.repeated_rows import find_repeated, mark_rows

FEATURES = {
    "amount": {"type": "numeric"},
    "tenure": {"type": "numeric"},
    "channel": {"type": "categorical"},
    "plan": {"type": "categorical"},
}


def make_use_case(folder: Path, key: str | None, features: Any = None) -> UseCase:
    content = {
        "name": "orders",
        "target": {"column": "returned", "classes": ["no", "yes"]},
        "source": {"windows": "*.csv"},
        "columns": features or FEATURES,
        **({"key": key} if key else {}),
    }
    return parse_use_case(content, folder / "loop.toml")


def orders(first: int, last: int, seed: int = 1) -> pd.DataFrame:
    """Orders from number `first` to before `last`; their labels are noise."""
    draw = np.random.default_rng((seed, first))
    rows = last - first
    return pd.DataFrame(
        {
            "order": [f"o{number}" for number in range(first, last)],
            "amount": draw.lognormal(4, 1, rows).round(4),
            "tenure": draw.integers(1, 60, rows),
            "channel": draw.choice(["web", "store"], rows),
            "plan": draw.choice(["basic", "gold"], rows),
            "returned": draw.choice(["no", "yes"], rows, p=[0.8, 0.2]),
        }
    )


def count_repeated(window: pd.DataFrame, earlier: pd.DataFrame, use_case: UseCase) -> int:
    marks = []
    for frame in (window, earlier):
        prepared = prepare(frame, use_case)
        marks.append(mark_rows(prepared, (frame["returned"] == "yes").to_numpy(int), use_case))
    return int(find_repeated(*marks).sum())


JANUARY, FEBRUARY = orders(0, 1000), orders(1000, 2000)
SO_FAR = pd.concat([JANUARY, FEBRUARY], ignore_index=True)
A_THIRD = pd.concat([JANUARY[700:], orders(1000, 1600)], ignore_index=True)


def changed(frame: pd.DataFrame, *columns: str, seed: int = 5) -> pd.DataFrame:
    """The same orders with other values in these columns."""
    other = orders(0, len(frame), seed)
    return frame.assign(**{name: other[name].to_numpy() for name in columns})


@pytest.mark.parametrize(
    ("window", "by_key", "by_content"),
    [
        pytest.param(FEBRUARY, 0, 0, id="a month of its own"),
        pytest.param(SO_FAR, 1000, 1000, id="all orders so far"),
        pytest.param(A_THIRD, 300, 300, id="a third of the month before"),
        pytest.param(JANUARY, 1000, 1000, id="a copy"),
        pytest.param(SO_FAR.sample(frac=1, random_state=1), 1000, 1000, id="in another order"),
        pytest.param(changed(A_THIRD, "amount"), 300, 0, id="corrected later"),
        pytest.param(changed(SO_FAR, "amount", "tenure"), 1000, 0, id="half of it corrected"),
        pytest.param(
            SO_FAR.assign(tenure=SO_FAR["tenure"] + 1), 1000, 0, id="an age that grows by itself"
        ),
        pytest.param(
            changed(JANUARY, "amount", "tenure", "returned"),
            0,
            0,
            id="the same customers, measured and labelled again",
        ),
        pytest.param(
            changed(JANUARY, "returned"), 0, 0, id="the same customers, labels of their own"
        ),
        pytest.param(
            changed(JANUARY, "amount", "tenure", "channel", "plan", "returned"),
            0,
            0,
            id="numbers that begin anew each month",
        ),
    ],
)
def test_rows_that_windows_share_are_found(
    tmp_path: Path, window: pd.DataFrame, by_key: int, by_content: int
) -> None:
    """By key the same order counts though values were corrected; by content only equal rows do. A
    key whose labels are its own each month names a customer, and repeats nothing."""
    assert count_repeated(window, JANUARY, make_use_case(tmp_path, "order")) == by_key
    assert count_repeated(window, JANUARY, make_use_case(tmp_path, None)) == by_content


@pytest.mark.parametrize("values", [2, 5, 20])
def test_rows_that_are_equal_by_chance_are_no_repetition(tmp_path: Path, values: int) -> None:
    """Small categorical tables without a key: most contents occur in both months, and nothing is
    left out; the same table with real copies is found as far as a content is seldom."""
    features = {name: {"type": "categorical"} for name in "abcd"}
    use_case = make_use_case(tmp_path, None, features)

    def month(seed: int) -> pd.DataFrame:
        draw = np.random.default_rng(seed)
        cells = {name: draw.integers(0, values, 1500).astype(str) for name in "abcd"}
        return pd.DataFrame({**cells, "returned": draw.choice(["no", "yes"], 1500)})

    for seed in range(5):
        earlier, window = month(seed), month(100 + seed)
        assert count_repeated(window, earlier, use_case) == 0
    both = pd.concat([earlier, window], ignore_index=True)
    assert (count_repeated(both, earlier, use_case) > 500) == (values == 20)
