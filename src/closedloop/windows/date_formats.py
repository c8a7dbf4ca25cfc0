"""How a column of dates is written, found from all its values."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from closedloop.errors import SourceError
from closedloop.windows.time_column import MAX_UNREAD_SHARE, read_times

if TYPE_CHECKING:
    import pandas as pd

_FEW = 20
_DAYS = (
    *(f"%d{sep}%m{sep}%Y" for sep in "./-"),
    *(f"%m{sep}%d{sep}%Y" for sep in "./-"),
    *(f"%d{sep}%m{sep}%y" for sep in "./-"),
    *(f"%m{sep}%d{sep}%y" for sep in "./-"),
    *("%Y/%m/%d", "%Y.%m.%d"),
    *("%d %b %Y", "%d %B %Y", "%d. %B %Y", "%d-%b-%Y", "%d-%b-%y"),
    *("%b %d, %Y", "%B %d, %Y", "%b %d %Y"),
)
_HOURS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%H:%M %z", "%H:%M:%S %z")
_FORMATS = (
    *_DAYS,
    *(f"{day}{sep}{hour}" for day in _DAYS for sep in (" ", ", ", "T") for hour in _HOURS),
    *("%Y%m%d%H%M%S", "%Y%m%d%H%M"),
)


def find_date_format(column: pd.Series[Any], timezone: str, where: str) -> str | None:
    """The format of strptime that reads the values; None for ISO 8601 or numbers since 1970.

    Raises SourceError when none reads them, or when day and month could be either way round.
    """
    import pandas as pd

    present = column.dropna()
    present = present[present.astype(str).str.strip() != ""]
    if len(present) and _share(present, timezone, None) >= 1 - MAX_UNREAD_SHARE:
        return None
    if pd.api.types.is_datetime64_any_dtype(column) or not len(present):
        return None
    few = [str(value).strip() for value in present.drop_duplicates().head(_FEW)]
    found = {
        way: share
        for way in _FORMATS
        if any(_reads(way, text) for text in few)
        if (share := _share(present, timezone, way)) >= 1 - MAX_UNREAD_SHARE
    }
    best = [way for way in found if found[way] == max(found.values())]
    if not best:
        raise SourceError(
            where=where,
            wanted="times that can be read",
            got=repr(str(present.iloc[0])),
            then="name how they are written: --date-format '%d.%m.%Y %H:%M'",
        )
    # With dots the day is first.
    if len(best) > 1 and not all("." in way for way in best):
        shown = " or ".join(f"--date-format '{way}'" for way in best[:2])
        raise SourceError(
            where=where,
            wanted="dates of which one shows whether the day or the month is first",
            got=f"{str(present.iloc[0])!r}, and all others, could be either",
            then=f"say which: {shown}",
        )
    return best[0]


def _reads(way: str, text: str) -> bool:
    try:
        datetime.strptime(text, way)
    except ValueError:
        return False
    return True


def _share(values: pd.Series[Any], timezone: str, way: str | None) -> float:
    return float(read_times(values, timezone, way).notna().mean())
