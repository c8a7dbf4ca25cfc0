"""When the loop runs by itself: a cron line and its time zone. Decisions do not depend on it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

DEFAULT_CRON = "0 6 * * *"
# Name, lowest and highest value.
_FIELDS = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 7),
)
_TERM = r"(\*|\d+|[a-z]{3})"
# cronsim also reads extensions such as LW, 5L and mon#2, which Prefect refuses.
_PLAIN = re.compile(rf"{_TERM}([-,/]{_TERM})*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Schedule:
    """`cron` has five fields (minute, hour, day, month, weekday), read in the time zone `timezone`.

    The time zone is an IANA name such as Europe/Berlin.
    """

    cron: str = DEFAULT_CRON
    """Minute, hour, day, month and weekday of a turn."""
    timezone: str = "UTC"
    """Clock that `cron` is read by: an IANA name such as Europe/Berlin."""
    source: Literal["windows", "records"] = "windows"
    """What the scheduled turn looks at: the windows of [source], or the service's own records."""

    def __post_init__(self) -> None:
        check_cron(self.cron)
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"timezone must be an IANA name such as UTC or Europe/Berlin, got {self.timezone!r}"
            ) from None


def check_cron(line: str) -> None:
    """Raise ValueError, naming the wrong field, unless this is plain cron that comes true some day.

    Plain means `*`, numbers, names of months and weekdays, ranges, steps (`*/15`, `8-18/2`) and
    lists of these.
    """
    values = line.split()
    if len(values) != len(_FIELDS):
        wanted = "cron must have 5 fields (minute hour day month weekday)"
        raise ValueError(f"{wanted}, got {len(values)} in {line!r}")
    for place, (value, (name, lowest, highest)) in enumerate(zip(values, _FIELDS, strict=True)):
        alone = ["*"] * place + [value] + ["*"] * (len(_FIELDS) - place - 1)
        if not _PLAIN.fullmatch(value) or not _is_cron(alone):
            wanted = f"cron's {name} must be between {lowest} and {highest}"
            terms = "*, a number, a range from low to high, a step or a list of these"
            raise ValueError(f"{wanted}, as {terms}, got {value!r}")
    # Whatever its weekday: Prefect gives up on such a line even if its weekday comes true.
    if not _is_cron([*values[:4], "*"]):
        raise ValueError(f"cron must name a day that some month has, got {line!r}")


def _is_cron(values: list[str]) -> bool:
    try:
        CronSim(" ".join(values), datetime(2000, 1, 1))
    except CronSimError:
        return False
    return True
