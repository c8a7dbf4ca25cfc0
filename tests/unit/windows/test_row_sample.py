"""A sample of the rows of large tables: seeded, in order, and all rows while they are few."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from closedloop.use_case.source import Source
from closedloop.windows.tables.chunks import open_table, read_all
from closedloop.windows.tables.read_ahead import read_ahead
from closedloop.windows.tables.row_sample import RowSample, RowSampler

ROWS = 120_000


@pytest.fixture(scope="module", params=["csv", "parquet"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of some chunks, with a number of each row and nulls."""
    frame = pd.DataFrame({"row": np.arange(ROWS), "name": [f"r{row}" for row in range(ROWS)]})
    frame.loc[5, "name"] = None
    found = tmp_path_factory.mktemp("tables") / f"t.{request.param}"
    frame.to_csv(found, index=False) if request.param == "csv" else frame.to_parquet(found)
    return found


def sample(path: Path, most: float, whole: str | None = None) -> RowSample:
    """The rows of the table, drawn by a new sampler."""
    return open_table(path, Source(windows="*")).sample(RowSampler(most), whole)


def test_a_few_rows_are_all_rows(path: Path) -> None:
    """They are what is read without a sample, with the same types."""
    found = sample(path, ROWS)
    assert (found.rows, found.places.tolist()) == (ROWS, list(range(ROWS)))
    pd.testing.assert_frame_equal(found.frame, read_all(open_table(path, Source(windows="*"))))


def test_a_sample_is_drawn_from_all_rows_in_their_order(path: Path) -> None:
    """Each place is that of its row, every part is in it, and it is always the same."""
    sampler = RowSampler(2_000)
    drawn = open_table(path, Source(windows="*")).sample(sampler, "name")
    found = sampler.cut_all([drawn])[0]
    assert (found.rows, len(found.frame), len(found.places)) == (ROWS, 2_000, 2_000)
    assert found.frame["row"].astype(int).tolist() == found.places.tolist()
    assert np.all(np.diff(found.places) > 0)
    assert np.histogram(found.places, bins=10, range=(0, ROWS))[0].min() > 120
    assert found.whole is not None
    assert (len(found.whole), found.whole.isna().sum()) == (ROWS, 1)
    again = RowSampler(2_000)
    assert again.cut_all([sample_with(path, again)])[0].places.tolist() == found.places.tolist()


def sample_with(path: Path, sampler: RowSampler) -> RowSample:
    return open_table(path, Source(windows="*")).sample(sampler)


def test_several_tables_share_a_sample(path: Path) -> None:
    """Of two equal tables each has about half of the rows, and together they have as many as were
    asked for."""
    sampler = RowSampler(1_000)
    parts = sampler.cut_all([sample_with(path, sampler) for _ in range(2)])
    assert sum(len(part.frame) for part in parts) == 1_000
    assert min(len(part.frame) for part in parts) > 400


def test_what_is_read_ahead_comes_in_order_and_its_error_too() -> None:
    """Another thread reads; what it raises arrives after the parts before it."""

    def parts() -> Iterator[tuple[int, int]]:
        for number in range(3):
            yield number, threading.get_ident()
        raise ValueError("broken off")

    found = read_ahead(parts())
    seen = [next(found) for _ in range(3)]
    assert [number for number, _ in seen] == [0, 1, 2]
    assert threading.get_ident() not in {thread for _, thread in seen}
    with pytest.raises(ValueError, match="broken off"):
        next(found)
