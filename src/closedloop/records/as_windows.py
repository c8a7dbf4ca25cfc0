"""The service's own records, read back as windows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from closedloop.errors import StoreError
from closedloop.records.periods import NAMED_AS, Period, end_of, start_of
from closedloop.records.repeated_keys import keep_newest
from closedloop.records.store import Records
from closedloop.use_case.contract import UseCase

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "records_"


def day_of_window(window: str) -> datetime | None:
    """The UTC day of a one-day window of records; None for any other name."""
    return _start_of_window(window, "day")


def _start_of_window(window: str, period: Period) -> datetime | None:
    try:
        return datetime.strptime(window, f"{PREFIX}{NAMED_AS[period]}").replace(tzinfo=UTC)
    except ValueError:
        return None


class RecordsSource:
    """The service's own records as windows: one per UTC hour, day or month with answers.

    They are named like `records_2026-11-20`. The current period is left out unless `unfinished`: a
    window must not grow after it was judged.
    """

    def __init__(
        self,
        records: Records,
        use_case: UseCase,
        period: Period = "day",
        *,
        unfinished: bool = False,
    ) -> None:
        self._records, self._use_case, self._period, self._unfinished = (
            records,
            use_case,
            period,
            unfinished,
        )

    def windows(self) -> tuple[str, ...]:
        """Names in time order, which is also their sorted order."""
        now = self._records.now()
        until = (
            end_of(start_of(now, self._period), self._period)
            if self._unfinished
            else start_of(now, self._period)
        )
        starts = self._records.read_periods(self._use_case.name, self._period, until)
        return tuple(f"{PREFIX}{start.strftime(NAMED_AS[self._period])}" for start in starts)

    def read(self, window: str) -> pd.DataFrame:
        """Raw rows of one window as `Records.read` returns them, the newest of every key.

        Raises StoreError when the name is not one of this source.
        """
        start = _start_of_window(window, self._period)
        if start is None:
            raise StoreError(
                where=f"window {window}",
                wanted=f"{PREFIX}{NAMED_AS[self._period]}",
                got=window,
                then="name a window of this source",
            )
        answered = self._records.read(self._use_case, start, end_of(start, self._period))
        return keep_newest(answered, self._use_case)
