"""Rows of a database cut into windows by a column with the time of each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from closedloop.use_case.source import Every, Source
from closedloop.windows.periods import end_of, name_of, period_named, start_of
from closedloop.windows.query_text import fill_query
from closedloop.windows.sources import NoWindows, require_window
from closedloop.windows.time_column import (
    TimedRows,
    cut_by_time,
    read_times,
    require_finished,
    tell_unfinished,
    utc_now,
    zone_of,
)

if TYPE_CHECKING:
    import pandas as pd

_WHERE = "source database"
# Before and after all rows, in years that every database knows.
_FIRST, _LAST = datetime(1800, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class SqlPeriods:
    """The windows of `query`, whose rows `ask(sql, what)` returns.

    With `{start}` and `{end}` in the query only one period is read at a time, otherwise all rows
    are read once. `quote` writes the name of a column in the database's SQL.
    """

    source: Source
    ask: Callable[[str, str], pd.DataFrame]
    quote: Callable[[str], str]
    now: Callable[[], datetime] = utc_now

    def windows(self) -> tuple[str, ...]:
        """Names of the periods with rows that are over, oldest first; raises NoWindows."""
        if not self._asks_for_periods:
            return require_finished(self.timed, _WHERE)
        if not self._periods:
            raise NoWindows(
                where=_WHERE,
                wanted="a window that is over",
                got="no rows before the current one",
                then="fill the table, or fix query in [source]",
            )
        return tuple(self._periods)

    def read(self, window: str) -> pd.DataFrame:
        """The rows of one window, without the column of times."""
        require_window(window, self.windows(), _WHERE)
        sql = self.query_of(window)
        if sql is not None:
            return self.choose(self.ask(sql, f"window {window}"), window)
        chosen = self._all_rows[self.timed.window == window]
        return chosen.drop(columns=[self.source.time_column]).reset_index(drop=True)

    def query_of(self, window: str) -> str | None:
        """The query that reads one window; None where a query reads all of them."""
        if not self._asks_for_periods:
            return None
        require_window(window, self.windows(), _WHERE)
        start = self._periods[window]
        return self._query(start, self._end(start))

    def choose(self, rows: pd.DataFrame, window: str) -> pd.DataFrame:
        """Those of the rows that are in the window, without the column of times."""
        # The filter of the query may be coarser: an hour that comes twice, another zone.
        names = cut_by_time(rows, self.source, _WHERE, self.now).window
        chosen = rows[names == window]
        return chosen.drop(columns=[self.source.time_column]).reset_index(drop=True)

    def remarks(self) -> tuple[str, ...]:
        """What is in no window, in words."""
        if not self._asks_for_periods:
            return self.timed.remarks()
        now = self.now()
        unfinished = [name for name, start in self._all_periods.items() if self._end(start) > now]
        return tell_unfinished(unfinished)

    @property
    def _asks_for_periods(self) -> bool:
        return "{start}" in (self.source.query or "")

    @property
    def _every(self) -> Every:
        return self.source.every or "day"

    @cached_property
    def _all_rows(self) -> pd.DataFrame:
        return self.ask(self.source.query or "", "query")

    @cached_property
    def timed(self) -> TimedRows:
        """All rows, cut by `time_column`, when the query reads them at once."""
        return cut_by_time(self._all_rows, self.source, _WHERE, self.now)

    @cached_property
    def _periods(self) -> dict[str, datetime]:
        """Those that are over."""
        now = self.now()
        return {name: start for name, start in self._all_periods.items() if self._end(start) <= now}

    @cached_property
    def _all_periods(self) -> dict[str, datetime]:
        """Start of each period with rows, oldest first, by name."""
        zone = zone_of(self.source)
        found = self._listed() if self.source.windows_query else self._first_of_each()
        starts = sorted({start_of(time, self._every, zone) for time in found})
        return {name_of(start, self._every, zone): start for start in starts}

    def _listed(self) -> Iterator[datetime]:
        """The times, or names of periods, in the first column of `windows_query`."""
        rows = self.ask(self.source.windows_query or "", "windows_query")
        for value in rows.iloc[:, 0].dropna() if rows.shape[1] else ():
            named = period_named(str(value), self._every, zone_of(self.source))
            time = named or self._time(value)
            if time is not None:
                yield time

    def _first_of_each(self) -> Iterator[datetime]:
        """The first time of each period: each is found from the end of the one before."""
        column, after = self.quote(self.source.time_column or ""), _FIRST
        while True:
            sql = f"SELECT MIN({column}) FROM ({self._query(after, _LAST)}) AS rows_of_query"
            found = self._time(self.ask(sql, "query").iloc[0, 0])
            if found is None:
                return
            yield found
            after = self._end(max(start_of(found, self._every, zone_of(self.source)), after))

    def _time(self, value: object) -> datetime | None:
        import pandas as pd

        times = read_times(pd.Series([value]), self.source.timezone, self.source.date_format)
        return None if times.isna()[0] else times[0].to_pydatetime()

    def _end(self, start: datetime) -> datetime:
        return end_of(start, self._every, zone_of(self.source))

    def _query(self, start: datetime, end: datetime) -> str:
        """The query of one period, whose ends are written by the local clock."""
        local = [moment.astimezone(zone_of(self.source)) for moment in (start, end)]
        first, last = (moment.replace(tzinfo=None) for moment in local)
        if last <= first:  # an hour that comes twice
            last = first + (end - start)
        return fill_query(
            self.source.query or "", {"start": _written(first), "end": _written(last)}
        )


def _written(moment: datetime) -> str:
    """ISO text that is also right where times are compared as text, with T, a blank or no hour."""
    if moment.hour == moment.minute == moment.second == 0:
        return moment.strftime("%Y-%m-%d")
    return moment.strftime("%Y-%m-%d %H:%M:%S")
