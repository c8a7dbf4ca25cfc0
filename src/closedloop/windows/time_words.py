"""The time that one name of a window speaks of: 11/2025, Nov 2025, 2025-Q3, 31.12.2025."""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Literal

# How numbers are read that could be a day, a month or a year of two digits.
Convention = Literal["month and year", "day first", "month first", "year first"]
CONVENTIONS: tuple[Convention, ...] = ("month and year", "day first", "month first", "year first")

_MONTHS = (
    "january januar janner jan janvier janv|february februar feb fevrier fevr fev|"
    "march marz maerz mar mrz mars|april apr avril avr|may mai|june juni jun juin|"
    "july juli jul juillet juil|august aug aout|september sept sep septembre|"
    "october oktober oct okt octobre|november nov novembre|december dezember dec dez decembre"
)
_DAYS = (
    "monday montag mon|tuesday dienstag tue tues|wednesday mittwoch wed|"
    "thursday donnerstag thu thur thurs|friday freitag fri|saturday samstag sat|sunday sonntag sun"
)


def _numbered(table: str) -> dict[str, int]:
    return {
        word: number
        for number, words in enumerate(table.split("|"), start=1)
        for word in words.split()
    }


_MONTH_OF, _DAY_OF = _numbered(_MONTHS), _numbered(_DAYS)


def _word(words: dict[str, int], group: str) -> str:
    longest_first = "|".join(sorted(words, key=len, reverse=True))
    return rf"(?<![a-z])(?P<{group}>{longest_first})(?![a-z])\.?"


_W, _BETWEEN = _word(_MONTH_OF, "word"), r"[\s_./,'-]{0,3}"
_Y = r"(?<!\d)(?P<y>(?:19|20)\d\d)(?!\d)"
_YY = r"(?<!\d)(?P<y>(?:19|20)?\d\d)(?!\d)"
_D = r"(?<!\d)(?P<d>\d\d?)(?!\d)(?:st|nd|rd|th)?"
_FISCAL = rf"{_BETWEEN}(?:of|fy)?{_BETWEEN}"
_CLOCK = (
    r"(?:[t\s_](?P<h>[01]\d|2[0-3])(?:[:h.-]?(?P<mi>[0-5]\d)(?:[:.-]?(?P<s>[0-5]\d)(?:[.,]\d+)?)?)?"
    r"\s?(?P<zone>z|utc|[+-]\d\d(?::?\d\d)?)?)?(?!\d)"
)
_PART = (
    r"(?:(?<![a-z])(?:q|quarter|quartal){g}(?P<q>[1-4])|(?<![a-z])(?:h|half|hy){g}(?P<half>[12])|"
    r"(?<![a-z])(?:w|wk|week|kw|cw|woche){g}(?P<w>[0-5]?\d))(?!\d)"
).replace("{g}", r"[\s_-]?")
# The first pattern that is found and makes a date is what the name means.
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<!\d)(?P<y>(?:19|20)\d\d)(?P<sep>[-_./\s])(?P<m>\d\d?)(?P=sep)(?P<d>\d\d?)" + _CLOCK,
        r"(?<!\d)(?P<y>(?:19|20)\d\d)(?P<m>\d\d)(?P<d>\d\d)"
        r"(?:[t_-]?(?P<h>[01]\d|2[0-3])(?P<mi>[0-5]\d)?(?P<s>[0-5]\d)?(?P<zone>z)?)?(?!\d)",
        rf"{_D}[\s_./-]{{0,2}}{_W}{_BETWEEN}{_YY}",
        rf"{_W}{_BETWEEN}{_D}(?:,\s?|[\s_./-]){_Y}",
        rf"{_Y}{_BETWEEN}{_W}(?:[\s_./-]{{1,2}}{_D})?",
        rf"{_W}{_BETWEEN}{_Y}",
        rf"{_W}{_BETWEEN}(?<!\d)(?P<two>\d\d?)(?!\d)",
        rf"(?<!\d)(?P<two>\d\d?)(?!\d){_BETWEEN}{_W}",
        rf"{_YY}{_FISCAL}{_PART}".replace("(?<![a-z])", ""),
        rf"{_PART}{_FISCAL}{_YY}",
        rf"(?<!\d)(?P<q>[1-4])(?:q|\.?\s?quarter|\.?\s?quartal){_FISCAL}{_YY}",
        r"(?<!\d)(?P<a>\d\d?)(?P<sep>[-_./\s])(?P<b>\d\d?)(?P=sep)(?P<y>(?:19|20)\d\d)" + _CLOCK,
        r"(?<!\d)(?P<a>\d\d)(?P<b>\d\d)(?P<y>(?:19|20)\d\d)(?!\d)",
        r"(?<!\d)(?P<y>(?:19|20)\d\d)[-_./\s](?P<m>\d\d?)(?!\d)",
        r"(?<!\d)(?P<m>\d\d?)[-_./\s](?P<y>(?:19|20)\d\d)(?!\d)",
        r"(?<!\d)(?:(?P<y>(?:19|20)\d\d)(?P<m>\d\d)|(?P<m2>\d\d)(?P<y2>(?:19|20)\d\d))(?!\d)",
        r"(?<!\d)(?P<a>\d\d)(?P<sep>[-_./\s]?)(?P<b>\d\d)(?P=sep)(?P<c>\d\d)(?!\d)",
        r"(?<![\d.])(?P<a>\d\d)[-_./\s](?P<b>\d\d)\.?(?!\d)",
        r"(?<!\d)(?<!\d[-_./\s])(?P<y>(?:19|20)\d\d)(?![-_./\s]?\d)",
        r"(?<!\d)(?P<epoch>\d{10}|\d{13})(?!\d)",
        _W,
        r"(?<![a-z])(?:q|quarter|quartal)[\s_-]?(?P<q>[1-4])(?!\d)",
        _word(_DAY_OF, "weekday"),
    )
)
# Numbers without a sign between them may be dates, or just numbers.
RUN_OF_DIGITS = re.compile(r"\d{6,}")


@dataclass(frozen=True)
class Reading:
    """What a name means: `at`, a moment in seconds, or a place in a `cycle` without a year.

    `cycle` is the length of that cycle: 12 for months alone, 0 with a year. `wall` is the moment as
    the clock of the name shows it; `zoned` is None without a time of the day.
    """

    at: float
    cycle: int = 0
    year: int = 0
    wall: float = 0.0
    zoned: bool | None = None


@lru_cache(maxsize=100_000)
def read_time(name: str, convention: Convention) -> Reading | None:
    """What a name says by one convention; None when that is no time at all."""
    text = "".join(
        character
        for character in unicodedata.normalize("NFKD", name.casefold())
        if not unicodedata.combining(character)
    )
    for pattern in _PATTERNS:
        for found in pattern.finditer(text):
            try:
                return _read(found.groupdict(), convention)
            except (ValueError, OverflowError):
                continue
    return None


def _read(found: dict[str, str | None], convention: Convention) -> Reading | None:
    """None when another convention is needed; ValueError when none makes a day of it."""
    if epoch := found.get("epoch"):
        seconds = int(epoch) / (1000 if len(epoch) == 13 else 1)
        return _moment(datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None))
    if weekday := found.get("weekday"):
        return Reading(_DAY_OF[weekday], cycle=7)
    month = _MONTH_OF[word] if (word := found.get("word")) else None
    if found.get("a"):
        return _numbers(found, convention)
    year = found.get("y") or found.get("y2")
    if month is not None and (two := found.get("two")):
        if convention in ("year first", "month and year"):
            return _moment(datetime(_full(two), month, 1)) if len(two) == 2 else None
        return _day_of_year(month, int(two))
    if year is None:
        if month is not None:
            return Reading(month, cycle=12)
        return Reading(int(found["q"] or 0), cycle=4)
    if week := found.get("w"):
        return _moment(datetime.combine(date.fromisocalendar(_full(year), int(week), 1), time()))
    if quarter := found.get("q"):
        month = 3 * int(quarter) - 2
    elif half := found.get("half"):
        month = 6 * int(half) - 5
    number = found.get("m") or found.get("m2")
    day = found.get("d")
    if month is not None and day and len(year) == 2 and convention == "year first":
        year, day = (day, year) if len(day) == 2 else (year, day)
    return _moment(
        datetime(_full(year), month or (int(number) if number else 1), int(day or 1)), found
    )


def _numbers(found: dict[str, str | None], convention: Convention) -> Reading | None:
    """Two or three numbers, of which the convention tells which is the day."""
    first, second, third = found["a"] or "", found["b"] or "", found.get("y") or found.get("c")
    if third is None:
        if convention == "year first":
            return _moment(datetime(_recent(first), int(second), 1))
        if convention == "month and year":
            return _moment(datetime(_recent(second), int(first), 1))
        month, day = (first, second) if convention == "month first" else (second, first)
        return _day_of_year(int(month), int(day))
    ways: dict[Convention, tuple[str, str, str]] = {
        "day first": (third, second, first),
        "month first": (third, first, second),
    }
    if len(third) == 2:
        ways["year first"] = (first, second, third)
    days = {}
    for way, (year, month, day) in ways.items():
        with suppress(ValueError):
            whole = int(year) if len(year) == 4 else _recent(year)
            days[way] = datetime(whole, int(month), int(day))
    if not days:
        raise ValueError(f"{first}, {second} and {third} are no day")
    return _moment(days[convention], found) if convention in days else None


def _full(year: str) -> int:
    number = int(year)
    return number if number > 99 else number + (2000 if number < 70 else 1900)


def _recent(year: str) -> int:
    """A year of two digits beside other numbers: 2010 to 2049, so that few numbers look like one.

    Raises ValueError for any other.
    """
    if not 10 <= int(year) <= 49:
        raise ValueError(year)
    return 2000 + int(year)


def _day_of_year(month: int, day: int) -> Reading:
    return Reading(date(2000, month, day).timetuple().tm_yday, cycle=366)


def _moment(day: datetime, found: dict[str, str | None] | None = None) -> Reading:
    clock = found or {}
    hour = clock.get("h")
    wall = day.replace(
        hour=int(hour or 0), minute=int(clock.get("mi") or 0), second=int(clock.get("s") or 0)
    )
    zone, seconds = clock.get("zone"), (wall - datetime(1970, 1, 1)).total_seconds()
    ahead = 0
    if zone and zone[0] in "+-":
        digits = zone[1:].replace(":", "").ljust(4, "0")
        ahead = (1 if zone[0] == "+" else -1) * (int(digits[:2]) * 60 + int(digits[2:])) * 60
    zoned = bool(zone) if hour else None
    return Reading(seconds - ahead, year=day.year, wall=seconds, zoned=zoned)
