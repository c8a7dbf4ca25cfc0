"""The service's own records as windows, and the hours, days and months that they are cut into."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from closedloop.errors import StoreError
from closedloop.use_case.contract import UseCase

if TYPE_CHECKING:
    import pandas as pd

    from closedloop.records import Records

Period = Literal["hour", "day", "month"]
PREFIX = "records_"
_FORMATS: dict[Period, str] = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}


def start_of(moment: datetime, period: Period) -> datetime:
    """Start of the UTC hour, day or month that `moment` lies in."""
    start = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if period == "hour":
        return start
    return start.replace(hour=0) if period == "day" else start.replace(hour=0, day=1)


def end_of(start: datetime, period: Period) -> datetime:
    """Start of the period after the one that starts at `start`."""
    longest = {"hour": timedelta(hours=1), "day": timedelta(days=1), "month": timedelta(days=31)}[period]
    return start_of(start + longest, period)


def day_of_window(window: str) -> datetime | None:
    """The UTC day whose records a window of one day holds; None when the name is not one of theirs."""
    return _start_of_window(window, "day")


def _start_of_window(window: str, period: Period) -> datetime | None:
    try:
        return datetime.strptime(window, f"{PREFIX}{_FORMATS[period]}").replace(tzinfo=UTC)
    except ValueError:
        return None


class RecordsSource:
    """The service's own records as windows: one for each UTC hour, day or month with answers, named like `records_2026-11-20`.

    A period that still runs is left out unless `unfinished`: a window must not grow after it was judged.
    """

    def __init__(self, records: Records, use_case: UseCase, period: Period = "day", *, unfinished: bool = False) -> None:
        self._records, self._use_case, self._period, self._unfinished = records, use_case, period, unfinished

    def windows(self) -> tuple[str, ...]:
        """Names in time order, which is also their sorted order."""
        now = self._records.now()
        until = end_of(start_of(now, self._period), self._period) if self._unfinished else start_of(now, self._period)
        starts = self._records.read_periods(self._use_case.name, self._period, until)
        return tuple(f"{PREFIX}{start.strftime(_FORMATS[self._period])}" for start in starts)

    def read(self, window: str) -> pd.DataFrame:
        """Raw rows of one window as `Records.read` gives them; raises StoreError when the name is not of this source."""
        start = _start_of_window(window, self._period)
        if start is None:
            raise StoreError(where=f"window {window}", wanted=f"{PREFIX}{_FORMATS[self._period]}", got=window,
                             then="name a window of this source")  # fmt: skip
        return self._records.read(self._use_case, start, end_of(start, self._period))
