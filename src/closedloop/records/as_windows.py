"""The service's own records, read back as windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from closedloop.errors import StoreError, UseCaseError
from closedloop.records.repeated_keys import keep_newest
from closedloop.records.store import Records
from closedloop.use_case.contract import UseCase
from closedloop.use_case.source import Every
from closedloop.windows.periods import NAMED_AS, end_of, name_of, period_named, start_of
from closedloop.windows.sources import ChainedSource, WindowSource, regroup
from closedloop.windows.time_column import zone_of

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "records_"


def length_of_windows(use_case: UseCase) -> Every:
    """How long a window of records is: `every` under [source], a day unless that says otherwise."""
    return use_case.source.every or "day"


def start_of_window(window: str, use_case: UseCase) -> datetime | None:
    """When a window of records starts; None for any other name."""
    period = period_of_window(window, use_case)
    return None if period is None else period[0]


def period_of_window(window: str, use_case: UseCase) -> tuple[datetime, datetime] | None:
    """When a window of records starts and the next one would; None for any other name.

    Windows keep their names when `every` is changed, so each length is tried.
    """
    if not window.startswith(PREFIX):
        return None
    name, zone = window.removeprefix(PREFIX), zone_of(use_case.source)
    starts = ((period_named(name, every, zone), every) for every in NAMED_AS)
    found = ((start, every) for start, every in starts if start is not None)
    start, every = next(found, (None, None))
    return None if start is None or every is None else (start, end_of(start, every, zone))


def name_windows(use_case: UseCase, moments: Iterable[datetime]) -> tuple[str, ...]:
    """The windows of records in which these moments are, in time order."""
    every, zone = length_of_windows(use_case), zone_of(use_case.source)
    starts = sorted({start_of(moment, every, zone) for moment in moments})
    return tuple(f"{PREFIX}{name_of(start, every, zone)}" for start in starts)


def count_corrected(
    records: Records, use_case: UseCase, windows: Iterable[str], after: datetime
) -> int:
    """How many rows of windows of records had their label corrected after that moment."""
    periods = (period_of_window(window, use_case) for window in {*windows})
    return sum(
        records.count_corrected(use_case.name, *period, after)
        for period in periods
        if period is not None
    )


def corrected_since(source: WindowSource, window: str, after: datetime) -> int:
    """How many rows of a window of records had their label corrected after that moment.

    0 for a window of another source: files and tables of others do not say.
    """
    if isinstance(source, ChainedSource):
        source = source.then
    return source.count_corrected(window, after) if isinstance(source, RecordsSource) else 0


def _refuse_missing_columns(use_case: UseCase) -> None:
    if use_case.unrecorded:
        raise UseCaseError(
            where="records as windows",
            wanted="every column that a model needs",
            got=f"none of {', '.join(use_case.unrecorded)}: record = false keeps it out of the "
            "records",
            then="look at your own windows, or remove record = false: answers from then on have it",
        )


class RecordsSource:
    """The service's own records as windows: one per hour, day, week or month with answers.

    They are named like `records_2026-11-20`, by the clock of the use case. The current period is
    left out unless `unfinished`: a window must not grow after it was judged. Raises UseCaseError
    for a use case with a column that is kept out of the records: no model can be asked about its
    rows.
    """

    def __init__(
        self,
        records: Records,
        use_case: UseCase,
        every: Every | None = None,
        *,
        unfinished: bool = False,
    ) -> None:
        _refuse_missing_columns(use_case)
        self._records, self._use_case, self._unfinished = records, use_case, unfinished
        self._every, self._zone = every or length_of_windows(use_case), zone_of(use_case.source)

    def windows(self) -> tuple[str, ...]:
        """Names in time order, which is also their sorted order."""
        now = self._records.now()
        until = start_of(now, self._every, self._zone)
        if self._unfinished:
            until = end_of(until, self._every, self._zone)
        starts = self._records.read_periods(self._use_case.name, self._every, until, self._zone)
        return tuple(f"{PREFIX}{name_of(start, self._every, self._zone)}" for start in starts)

    def count_corrected(self, window: str, after: datetime) -> int:
        """How many rows of a window had their label corrected after that moment."""
        return count_corrected(self._records, self._use_case, (window,), after)

    def read(self, window: str) -> pd.DataFrame:
        """Raw rows of one window as `Records.read` returns them, the newest of every key.

        Raises StoreError when the name is not one of this source.
        """
        answered = self._records.read(self._use_case, *self._period(window))
        return keep_newest(answered, self._use_case)

    def chunks(self, window: str, rows: int) -> Iterator[pd.DataFrame]:
        """As `InChunks.chunks`. Raises StoreError when the name is not one of this source."""
        return regroup(self._records.read_chunks(self._use_case, *self._period(window)), rows)

    def _period(self, window: str) -> tuple[datetime, datetime]:
        name = window.removeprefix(PREFIX)
        start = period_named(name, self._every, self._zone) if name != window else None
        if start is None:
            raise StoreError(
                where=f"window {window}",
                wanted=f"{PREFIX}{NAMED_AS[self._every]}",
                got=window,
                then="name a window of this source",
            )
        return start, end_of(start, self._every, self._zone)
