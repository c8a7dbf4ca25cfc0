"""Windows cut by a column of times: names, the unfinished one, rows without a time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from closedloop.errors import SourceError
from closedloop.use_case.source import Source
from closedloop.windows.date_formats import find_date_format
from closedloop.windows.files_source import FilesSource
from closedloop.windows.sources import NoWindows
from closedloop.windows.time_column import cut_by_time, read_times

LATER = datetime(2030, 1, 1, tzinfo=UTC)


def source(**named: Any) -> Source:
    return Source(**{"windows": "*.csv", "time_column": "at", "every": "month", **named})


def names(times: list[Any], **named: Any) -> list[Any]:
    """The window of each time."""
    cut = cut_by_time(pd.DataFrame({"at": times}), source(**named), "here", lambda: LATER)
    return list(cut.window)


@pytest.mark.parametrize(
    ("every", "first", "second"),
    [
        ("month", "2026-01", "2026-02"),
        ("week", "2026-W05", "2026-W05"),
        ("day", "2026-01-31", "2026-02-01"),
        ("hour", "2026-01-31T23+01:00", "2026-02-01T00+01:00"),
    ],
)
def test_rows_are_cut_by_the_local_time(every: str, first: str, second: str) -> None:
    """22:59 UTC is still the 31st in Berlin, 23:00 is the 1st, with a zone or in local time."""
    zoned = ["2026-01-31T22:59:59Z", "2026-02-01T00:00:00+01:00"]
    local = ["2026-01-31 23:59:59", "2026-02-01 00:00:00"]
    for times in (zoned, local, [pd.Timestamp(time) for time in local]):
        assert names(times, every=every, timezone="Europe/Berlin") == [first, second]


@pytest.mark.parametrize(
    "written",
    [
        "2026-03-05T13:30:00Z",
        "2026-03-05 14:30+01:00",
        "2026-03-05 14:30:00",
        "1772717400",
        "1772717400000",
        1772717400,
        1772717400000.0,
        pd.Timestamp("2026-03-05 14:30"),
        pd.Timestamp("2026-03-05 13:30", tz="UTC"),
    ],
)
def test_times_are_read_in_their_zone(written: Any) -> None:
    """All are half past two in Berlin: ISO text, numbers since 1970, timestamps."""
    column = pd.Series([written])
    assert find_date_format(column, "Europe/Berlin", "here") is None
    assert read_times(column, "Europe/Berlin")[0] == pd.Timestamp("2026-03-05 13:30", tz="UTC")


@pytest.mark.parametrize(
    ("written", "way"),
    [
        (["01.09.2025 14:30", "02.09.2025 14:30"], "%d.%m.%Y %H:%M"),
        (["09/01/2025 2:30 PM", "09/13/2025 2:30 PM"], "%m/%d/%Y %I:%M %p"),
        (["01/09/2025", "13/09/2025"], "%d/%m/%Y"),
        (["1 Sep 2025"], "%d %b %Y"),
        (["20250901143000"], "%Y%m%d%H%M%S"),
    ],
)
def test_the_way_to_write_dates_is_found_over_all_rows(written: list[str], way: str) -> None:
    """One day beyond the 12th settles what is the day; with dots the day is first."""
    column = pd.Series(written)
    assert find_date_format(column, "UTC", "here") == way
    assert read_times(column, "UTC", way)[0].date() == datetime(2025, 9, 1).date()


def test_day_and_month_that_could_be_either_are_refused() -> None:
    """The error names both formats, to choose from."""
    with pytest.raises(SourceError, match=r"'%d/%m/%Y' or --date-format '%m/%d/%Y'"):
        find_date_format(pd.Series(["01/02/2025", "03/04/2025"]), "UTC", "here")
    with pytest.raises(SourceError, match="times that can be read, got 'soon'"):
        find_date_format(pd.Series(["soon"]), "UTC", "here")


def write(folder: Path, rows: dict[str, list[Any]], name: str = "orders.csv") -> None:
    pd.DataFrame(rows).to_csv(folder / name, index=False)


def test_the_unfinished_window_is_left_out_until_the_clock_is_past_its_end(tmp_path: Path) -> None:
    """At half past eleven UTC of the last evening it is already February in Berlin."""
    write(tmp_path, {"at": ["2026-01-05T10:00Z", "2025-12-05T10:00Z"], "x": [1, 2]})
    before, after = (datetime(2026, 1, 31, hour, 30, tzinfo=UTC) for hour in (22, 23))
    berlin = source(timezone="Europe/Berlin")
    unfinished = FilesSource(berlin, tmp_path, now=lambda: before)
    assert unfinished.windows() == ("2025-12",)
    assert unfinished.rows.timed.remarks() == (
        "2026-01 left out: not over yet, or its rows stop early",
    )
    with pytest.raises(SourceError, match="2026-01"):
        unfinished.read("2026-01")
    finished = FilesSource(berlin, tmp_path, now=lambda: after)
    assert finished.windows() == ("2025-12", "2026-01")
    assert finished.read("2026-01").to_dict("list") == {"x": ["1"]}


def test_only_an_unfinished_window_is_no_window(tmp_path: Path) -> None:
    """The error names it."""
    write(tmp_path, {"at": ["2026-01-05"], "x": [1]})
    now = datetime(2026, 1, 6, tzinfo=UTC)
    with pytest.raises(NoWindows, match="2026-01, which is unfinished"):
        FilesSource(source(), tmp_path, now=lambda: now).windows()


@pytest.mark.parametrize(
    ("last", "every", "finished"),
    [
        ("2026-01-20 12:00", "month", ("2025-11", "2025-12")),
        ("2026-01-31 20:00", "month", ("2025-11", "2025-12", "2026-01")),
        ("2026-01-04 17:45", "day", ("2025-11-01", "2026-01-04")),
    ],
)
def test_a_window_whose_rows_break_off_is_unfinished(
    tmp_path: Path, last: str, every: str, finished: tuple[str, ...]
) -> None:
    """An export of 20 January holds no January, years later too; the night of a shop is no end."""
    times = pd.date_range("2025-11-01 08:00", last, freq="15min")
    open_hours = times[(times.hour >= 8) & (times.hour < 18)]
    write(tmp_path, {"at": list(open_hours.astype(str))})
    orders = FilesSource(source(every=every), tmp_path, now=lambda: LATER).windows()
    assert (orders if every == "month" else (orders[0], orders[-1])) == finished


def test_rows_of_all_files_are_cut_and_late_rows_belong_to_their_time(tmp_path: Path) -> None:
    """A row of January that arrives in February's file is a row of January."""
    write(tmp_path, {"at": ["2026-01-05", "2026-01-31"], "x": [1, 2]}, "a.csv")
    write(tmp_path, {"at": ["2026-02-05", "2026-01-30"], "x": [3, 4]}, "b.csv")
    orders = FilesSource(source(), tmp_path, now=lambda: LATER)
    assert orders.windows() == ("2026-01", "2026-02")
    assert list(orders.read("2026-01")["x"]) == ["1", "2", "4"]


def test_rows_without_a_time_are_told_and_many_are_refused() -> None:
    """One of 200 is left out and shown; three of 200 are too many."""
    times = ["2026-01-05"] * 200
    one_bad = pd.DataFrame({"at": ["soon", *times[1:]]})
    cut = cut_by_time(one_bad, source(), "here", lambda: LATER)
    assert cut.names == ("2026-01",)
    assert cut.remarks() == (
        "1 of 200 rows have no readable time, such as 'soon': they are in no window",
    )
    with pytest.raises(SourceError, match="3 of 200 that cannot be read, such as 'soon'"):
        cut_by_time(pd.DataFrame({"at": ["soon"] * 3 + times[3:]}), source(), "here")
    with pytest.raises(SourceError, match="the column at"):
        cut_by_time(pd.DataFrame({"when": times}), source(), "here")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"every": None}, "time_column needs every"),
        ({"window_column": "month"}, "exclude each other"),
        ({"timezone": "Berlin"}, "IANA name"),
        ({"query": "SELECT 1"}, "without query"),
        ({"kind": "sql", "query": "SELECT 1", "url": "sqlite://"}, "needs url and query"),
    ],
)
def test_settings_that_do_not_fit_are_refused(wrong: dict[str, Any], said: str) -> None:
    """Each with what it needs."""
    with pytest.raises(ValueError, match=said):
        source(**wrong)
