"""`new_rows = true`: files that hold all rows so far become windows of new rows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from closedloop.errors import SourceError
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import load_use_case
from closedloop.windows.new_rows_source import NewRowsSource
from closedloop.windows.open_source import open_source
from tests.unit.streams import Frames
from tests.unit.windows.test_repeated_rows import make_use_case, orders

ALL = orders(0, 40)


@pytest.fixture(params=["order", None], ids=["by key", "by content"])
def use_case(request: pytest.FixtureRequest, tmp_path: Path) -> UseCase:
    return make_use_case(tmp_path, request.param)


def growing() -> Frames:
    """Files that hold all orders so far: 10, 20, 30 and 40 of them."""
    return Frames({f"2026-0{number}": ALL[: 10 * number] for number in range(1, 5)})


def test_a_window_holds_only_rows_that_no_window_before_it_holds(use_case: UseCase) -> None:
    """Each month gets its own ten orders, in whatever order the months are read."""
    for order in (("2026-01", "2026-02", "2026-03", "2026-04"), ("2026-04", "2026-02")):
        source = NewRowsSource(growing(), use_case)
        for name in order:
            number = int(name[-1])
            wanted = ALL[10 * number - 10 : 10 * number].reset_index(drop=True)
            pd.testing.assert_frame_equal(source.read(name), wanted)
    ALL.to_csv(use_case.path.parent / "2026-01.csv", index=False)
    with pytest.raises(SourceError, match="2026-09"):
        NewRowsSource(open_source(use_case), use_case).read("2026-09")


def test_windows_before_are_read_once(use_case: UseCase) -> None:
    """Four months in turn: each file is read for itself and once for the months after it."""
    frames = growing()
    source = NewRowsSource(frames, use_case)
    for name in source.windows():
        source.read(name)
    assert sorted(frames.asked) == sorted([*frames.frames, *list(frames.frames)[:3]])


def test_a_window_that_came_in_between_counts(use_case: UseCase) -> None:
    """A file that arrives late, in the middle: the months after it do not hold its rows again."""
    frames = growing()
    late = frames.frames.pop("2026-02")  # type: ignore[attr-defined]
    source = NewRowsSource(frames, use_case)
    assert len(source.read("2026-03")) == 20
    frames.frames = dict(sorted({**frames.frames, "2026-02": late}.items()))
    assert len(source.read("2026-03")) == 10


def test_equal_rows_without_a_key_are_counted(tmp_path: Path) -> None:
    """Two equal orders in January and three in the file that follows: one of them is new."""
    twice, thrice = (pd.concat([ALL[:1]] * times, ignore_index=True) for times in (2, 3))
    source = NewRowsSource(Frames({"a": twice, "b": thrice}), make_use_case(tmp_path, None))
    assert (len(source.read("a")), len(source.read("b"))) == (2, 1)


def test_new_rows_is_set_in_loop_toml(tmp_path: Path) -> None:
    """One line under [source]; without it files are read whole."""
    for number in (1, 2):
        ALL[: 10 * number].to_csv(tmp_path / f"2026-0{number}.csv", index=False)
    text = (
        'name = "orders"\nkey = "order"\n[source]\nwindows = "*.csv"\n{line}\n'
        '[target]\ncolumn = "returned"\nclasses = ["no", "yes"]\n'
        '[columns.amount]\ntype = "numeric"\n'
    )
    for line, rows in (("", 20), ("new_rows = true", 10)):
        (tmp_path / "loop.toml").write_text(text.format(line=line))
        assert len(open_source(load_use_case(tmp_path)).read("2026-02")) == rows
