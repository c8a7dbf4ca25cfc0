"""When the loop looks by itself: a cron line and the clock it is read by. Not what is decided, so
decisions do not depend on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DEFAULT_CRON = "0 6 * * *"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Name, lowest and highest value, and the words that may stand for the numbers.
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {word: number for number, word in enumerate(_MONTHS, start=1)}),
    ("day of the week", 0, 7, {word: number for number, word in enumerate(_WEEKDAYS)}),
)
_LONGEST_MONTHS = dict(
    zip(range(1, 13), (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), strict=True)
)
_PART = re.compile(r"(\*|(?P<low>\w+)(-(?P<high>\w+))?)(/(?P<step>\d+))?")


@dataclass(frozen=True)
class Schedule:
    """`cron` is five fields (minute, hour, day, month, weekday), read by the clock of `timezone`,
    an IANA name such as Europe/Berlin."""

    cron: str = DEFAULT_CRON
    """Minute, hour, day, month and weekday of a turn."""
    timezone: str = "UTC"
    """Clock that `cron` is read by: an IANA name such as Europe/Berlin."""

    def __post_init__(self) -> None:
        check_cron(self.cron)
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"timezone must be an IANA name such as UTC or Europe/Berlin, got {self.timezone!r}"
            ) from None


def check_cron(line: str) -> None:
    """Raise ValueError, saying which field is wrong, unless the line is plain cron that comes true
    some day.

    Taken are `*`, numbers, names of months and weekdays, ranges, steps (`*/15`, `8-18/2`) and lists
    of these: what every cron takes.
    """
    fields = line.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"cron must have 5 fields (minute hour day month weekday), got {len(fields)} in {line!r}"
        )
    values = [sorted(_read(field, *about)) for field, about in zip(fields, _FIELDS, strict=True)]
    # Prefect's reader gives such a line up whatever the weekday says.
    if values[2][0] > max(_LONGEST_MONTHS[month] for month in values[3]):
        raise ValueError(f"cron must name a day that some month has, got {line!r}")


def _read(field: str, name: str, lowest: int, highest: int, words: dict[str, int]) -> Iterator[int]:
    """The numbers that a field means."""
    for part in field.split(","):
        found = _PART.fullmatch(part)
        if found is None or (found["step"] and found["low"] and not found["high"]):
            raise ValueError(
                f"cron's {name} must be *, a number, a range or a list of these, got {field!r}"
            )
        low = lowest if found["low"] is None else _number(found["low"], words)
        high = (
            highest
            if found["low"] is None
            else low
            if found["high"] is None
            else _number(found["high"], words)
        )
        step = int(found["step"] or 1)
        if not (lowest <= low <= high <= highest and 1 <= step <= highest):
            raise ValueError(
                f"cron's {name} must be between {lowest} and {highest}, from low to high, got {field!r}"
            )
        yield from range(low, high + 1, step)


def _number(text: str, words: dict[str, int]) -> int:
    """A number or the word for one; -1, which no field takes, for anything else."""
    return int(text) if text.isascii() and text.isdecimal() else words.get(text.lower(), -1)
