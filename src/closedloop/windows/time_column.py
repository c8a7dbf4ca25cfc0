"""Rows cut into windows by a column with the time of each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from closedloop.errors import SourceError
from closedloop.use_case.source import Every, Source
from closedloop.windows.periods import end_of, name_of, start_of
from closedloop.windows.sources import NoWindows

if TYPE_CHECKING:
    import pandas as pd

MAX_UNREAD_SHARE = 0.01
_HAS_ZONE = r"(?i)(?:Z|UTC|[+-]\d\d(?::?\d\d)?)\s*$"
_SINCE_1970 = r"(?:\d{9,10}|\d{13}|\d{16}|\d{19})(?:\.\d+)?"
# Nanoseconds of one, for numbers from here on: milliseconds begin where seconds are beyond 5000.
_UNITS = ((1e17, 1.0), (1e14, 1e3), (1e11, 1e6), (0.0, 1e9))
_QUARTER = "15min"  # every clock on earth is set to a quarter of an hour


@dataclass(frozen=True)
class TimedRows:
    """The window of each row, null where its time cannot be read.

    `names` are the windows, oldest first, of which `unfinished` are not over yet, or break off;
    `unread` rows have no readable time, such as `example`.
    """

    window: pd.Series[Any]
    names: tuple[str, ...]
    unfinished: tuple[str, ...]
    unread: int
    example: str

    @property
    def finished(self) -> tuple[str, ...]:
        """Windows that no row is added to any more, unless it comes late."""
        return self.names[: len(self.names) - len(self.unfinished)]

    def remarks(self) -> tuple[str, ...]:
        """What is left out, in words."""
        told = [*tell_unfinished(self.unfinished)]
        if self.unread:
            told.append(
                f"{self.unread} of {len(self.window)} rows have no readable time, such as "
                f"{self.example!r}: they are in no window"
            )
        return tuple(told)


def tell_unfinished(windows: Sequence[str]) -> tuple[str, ...]:
    """That windows are not over yet, in words."""
    if not windows:
        return ()
    more = f" and {len(windows) - 1} later" if len(windows) > 1 else ""
    return (f"{windows[0]}{more} left out: not over yet, or its rows stop early",)


def zone_of(source: Source) -> tzinfo:
    """The clock that the rows of a source are cut by."""
    return UTC if source.timezone == "UTC" else ZoneInfo(source.timezone)


def utc_now() -> datetime:
    """The clock that says whether a window is over."""
    return datetime.now(UTC)


def cut_by_time(
    rows: pd.DataFrame, source: Source, where: str, now: Callable[[], datetime] = utc_now
) -> TimedRows:
    """The windows of `rows`, by `time_column`, `every`, `timezone` and `date_format` of `source`.

    Raises SourceError when there is no such column, or more than 1 % of its values are no times.
    """
    import pandas as pd

    every: Every = source.every or "day"
    column, zone = source.time_column, zone_of(source)
    if column not in rows.columns:
        raise SourceError(
            where=where,
            wanted=f"the column {column}, which holds the time of a row",
            got=f"the columns {', '.join(map(str, rows.columns[:12]))}",
            then="fix time_column in [source]",
        )
    values = rows[column]
    times = read_times(values, source.timezone, source.date_format)
    unread = int(times.isna().sum())
    example = str(values[times.isna()].iloc[0]) if unread else ""
    if unread > MAX_UNREAD_SHARE * len(rows):
        raise SourceError(
            where=f"{where}, {column}",
            wanted=f"times, at most {MAX_UNREAD_SHARE:.0%} of them unreadable",
            got=f"{unread} of {len(rows)} that cannot be read, such as {example!r}",
            then="set date_format in [source], such as '%d.%m.%Y %H:%M', or correct the rows",
        )
    quarters = times.dt.floor(_QUARTER)
    starts = {
        quarter: start_of(quarter.to_pydatetime(), every, zone)
        for quarter in quarters.dropna().unique()
    }
    named = {start: name_of(start, every, zone) for start in sorted(set(starts.values()))}
    window = quarters.map({quarter: named[start] for quarter, start in starts.items()})
    moment, ends = now(), [end_of(start, every, zone) for start in named]
    over = [end <= moment for end in ends]
    if len(over) > 1 and over[-1] and _breaks_off(times.dropna(), ends):
        over[-1] = False
    unfinished = tuple(name for name, done in zip(named.values(), over, strict=True) if not done)
    return TimedRows(
        pd.Series(window, index=rows.index, dtype=object),
        tuple(named.values()),
        unfinished,
        unread,
        example,
    )


def _breaks_off(times: pd.Series[Any], ends: Sequence[datetime]) -> bool:
    """Whether the newest rows stop long before the end of their window: an export in mid-period.

    Long is a tenth of the window, ten times the usual step from row to row, and twice the quiet
    time at the end of each window before it, such as the night of a shop.
    """
    import numpy as np
    import pandas as pd

    moments = np.sort(times.to_numpy(dtype="datetime64[ns]"))
    limits = np.array([pd.Timestamp(end).to_datetime64() for end in ends], dtype="datetime64[ns]")
    places = np.searchsorted(moments, limits) - 1
    quiet = limits - moments[places]
    usual = np.median(np.diff(moments))
    longest = max((limits[-1] - limits[-2]) / 10, usual * 10, *(2 * quiet[:-1]))
    return bool(quiet[-1] > longest)


def require_finished(rows: TimedRows, where: str) -> tuple[str, ...]:
    """The windows that are over, oldest first; raises NoWindows when none is."""
    if not rows.finished:
        raise NoWindows(
            where=where,
            wanted="a window that is over",
            got=f"{', '.join(rows.unfinished[:3])}, which is unfinished"
            if rows.names
            else "no rows",
            then="wait until it is over, or choose a shorter every in [source]",
        )
    return rows.finished


def read_times(
    column: pd.Series[Any], timezone: str, date_format: str | None = None
) -> pd.Series[Any]:
    """Moments in UTC, NaT for what is none.

    Reads timestamps, ISO text, numbers of seconds, milli-, micro- or nanoseconds since 1970, and
    text in `date_format`. A time without a zone is one of `timezone`; of an hour that comes twice
    it is the first, and in an hour that is left out it is the next moment that exists.
    """
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column):
        stored: pd.Series[Any] = _in_utc(column, timezone)
        return stored
    text = column.astype("string").str.strip()
    text = text.mask(text.fillna("") == "")
    if date_format is not None:
        zoned = "%z" in date_format or "%Z" in date_format
        formatted: pd.Series[Any] = _in_utc(_parse(text, date_format, zoned), timezone)
        return formatted
    numbers = pd.to_numeric(text, errors="coerce").astype("float64")
    is_number = text.fillna("").str.fullmatch(_SINCE_1970)
    has_zone = text.fillna("").str.contains(_HAS_ZONE, regex=True) & text.fillna("").str.contains(
        ":"
    )
    result = pd.Series(pd.NaT, index=column.index, dtype="datetime64[ns, UTC]")
    plain = text.mask(is_number | has_zone)
    local = _parse(plain, "ISO8601")
    result = result.where(local.isna(), _in_utc(local, timezone))
    if has_zone.any():
        aware = _parse(text.where(has_zone), "ISO8601", zoned=True)
        result = result.where(aware.isna(), aware)
    if is_number.any():
        result = result.where(~is_number, _since_1970(numbers.where(is_number)))
    return result


def _parse(text: pd.Series[Any], date_format: str, zoned: bool = False) -> Any:
    import pandas as pd

    return pd.to_datetime(text, format=date_format, errors="coerce", utc=zoned)


def _since_1970(numbers: pd.Series[Any]) -> Any:
    import pandas as pd

    typical = float(numbers.median())
    unit = next(unit for smallest, unit in _UNITS if typical >= smallest)
    return pd.to_datetime(numbers * unit, unit="ns", errors="coerce", utc=True).dt.as_unit("ns")


def _in_utc(times: Any, timezone: str) -> Any:
    import numpy as np

    if times.dt.tz is None:
        first = np.ones(len(times), dtype=bool)
        times = times.dt.tz_localize(timezone, ambiguous=first, nonexistent="shift_forward")
    return times.dt.tz_convert("UTC").dt.as_unit("ns")
