"""The order of windows in time, by what their names mean.

All names are read by one convention. Names that speak of no time are sorted with numbers as
numbers; names whose order cannot be known are refused: a loop must not train on the future.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from closedloop.errors import SourceError
from closedloop.windows.copied_names import find_copies
from closedloop.windows.time_words import (
    CONVENTIONS,
    RUN_OF_DIGITS,
    Convention,
    Reading,
    read_time,
)

_COUNTED = re.compile(r"(month|monat|week|woche|wk|kw|cw|w)[\s_-]?(\d{1,2})(?!\d)", re.IGNORECASE)
_CYCLES = {"month": (12,), "monat": (12,)}
_WEEKS = (52, 53)
_NO_YEAR = "names without a year: they may go on from the end of one into the next"


class UnclearOrder(SourceError):
    """The order of the windows in time cannot be told from their names."""


@dataclass(frozen=True)
class TimeOrder:
    """Names, oldest first, and how they were read, in words."""

    names: tuple[str, ...]
    reading: str


def in_time_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names, oldest first; raises UnclearOrder as `find_time_order` does."""
    return find_time_order(names).names


def find_time_order(names: Iterable[str]) -> TimeOrder:
    """Order names by the time they speak of, or, when they speak of none, with numbers as numbers.

    A copy ("2026-01 (1)") comes right after its original. Raises UnclearOrder when some speak of a
    time and others do not, or when the order depends on what cannot be known: day or month first,
    or the year.
    """
    known = frozenset(names)
    copies = find_copies(known)
    found = _find(known.difference(copies))
    if not copies:
        return found
    order = list(found.names)
    # Shorter names first: the copy of a copy finds its original in place.
    for copy in sorted(copies, key=lambda name: (len(name), name)):
        place = order.index(copies[copy]) + 1
        while place < len(order) and order[place] in copies:
            place += 1
        order.insert(place, copy)
    return TimeOrder(tuple(order), found.reading)


@lru_cache(maxsize=64)
def _find(names: frozenset[str]) -> TimeOrder:
    by_number = tuple(sorted(names, key=_natural))
    read = {
        convention: {name: read_time(name, convention) for name in by_number}
        for convention in CONVENTIONS
    }
    whole = {
        convention: {name: reading for name, reading in found.items() if reading is not None}
        for convention, found in read.items()
        if None not in found.values()
    }
    if not whole:
        return _without_one_reading(by_number, read)
    clear = {convention: found for convention, found in whole.items() if _is_clear(found.values())}
    if not clear:
        raise _unclear(by_number, _NO_YEAR)
    chosen = _most_likely(clear, by_number)
    orders: dict[tuple[str, ...], str] = {}
    for convention, found in chosen.items():
        for order in _orders(found):
            orders.setdefault(order, convention)
    if len(orders) > 1:
        (order, reading), (other, another) = list(orders.items())[:2]
        place = next(place for place, name in enumerate(order) if other[place] != name)
        raise _unclear(
            by_number,
            f"{order[place]} before {other[place]} ({reading}), or after it ({another})",
        )
    (order,) = orders
    depends = len({tuple(found.values()) for found in read.values()}) > 1
    return TimeOrder(order, f"dates, {next(iter(chosen))}" if depends else "dates")


def _most_likely(
    readings: dict[Convention, dict[str, Reading]], names: tuple[str, ...]
) -> dict[Convention, dict[str, Reading]]:
    """Without those that are far from how people write dates."""
    years = {
        convention: len({reading.year for reading in found.values()})
        for convention, found in readings.items()
        if not next(iter(found.values()), Reading(0)).cycle
    }
    fewest = min(years.values(), default=0)
    # Feb-25, Mar-25, ... Feb-26: months of a few years, not days of one.
    has_years = bool(years) and 3 * fewest <= len(names)
    likely = {
        convention: found
        for convention, found in readings.items()
        if (years[convention] == fewest if convention in years else not has_years)
    }
    # Only 31.12.2025 is written with dots.
    if "day first" in likely and all(re.search(r"\d\.\d\d?\.\d", name) for name in names):
        likely.pop("month first", None)
    return likely


def _orders(found: dict[str, Reading]) -> Iterator[tuple[str, ...]]:
    """The order in time, and by the clocks shown where only some names give their zone."""

    def sort(moment: Callable[[Reading], float]) -> tuple[str, ...]:
        return tuple(sorted(found, key=lambda name: (moment(found[name]), _natural(name))))

    yield sort(lambda reading: reading.at)
    if {True, False} <= {reading.zoned for reading in found.values()}:
        yield sort(lambda reading: reading.wall)


def _is_clear(readings: Iterable[Reading]) -> bool:
    """Whether all have a year, or, without one, are clearly parts of one and the same year."""
    cycles = {reading.cycle for reading in readings}
    if cycles <= {0}:
        return True
    if len(cycles) > 1:
        return False
    (length,) = cycles
    places = sorted({int(reading.at) for reading in readings})
    if len(places) == length or len(places) == 1:
        return True
    steps = [later - earlier for earlier, later in pairwise(places)]
    return places[0] + length - places[-1] > max(steps)


def _without_one_reading(
    names: tuple[str, ...], read: dict[Convention, dict[str, Reading | None]]
) -> TimeOrder:
    """Names of which some or all speak of no time."""
    found = max(read.values(), key=lambda found: sum(value is not None for value in found.values()))
    dated = {name: reading for name, reading in found.items() if reading is not None}
    others = [name for name in names if name not in dated]
    if dated and not _are_just_numbers(list(dated), others):
        agree = len(order := list(_orders(dated))) == 1 and order[0] == tuple(dated)
        if not agree or not all(re.search(r"(?<!\d)(19|20)\d\d(?!\d)", name) for name in others):
            newest = next(reversed(dated))
            raise _unclear(names, f"{newest}, which is a time, and {others[0]}, which is none")
    elif wrapped := _wraps(names):
        raise _unclear(names, wrapped)
    return TimeOrder(names, "names")


def _are_just_numbers(dated: list[str], others: list[str]) -> bool:
    """200012 and 200013 are numbers: one that is no month shows what the others are."""
    lengths = [{len(run) for run in RUN_OF_DIGITS.findall(name)} for name in dated]
    return all(lengths) and any(
        len(run) in set.union(*lengths) for name in others for run in RUN_OF_DIGITS.findall(name)
    )


def _wraps(names: tuple[str, ...]) -> str:
    """week 51, 52, 1, 2: numbers that may have begun anew, in words; empty when they have not."""
    found = [_COUNTED.search(name) for name in names]
    words = {match[1].casefold() for match in found if match}
    if len(words) != 1 or not all(found):
        return ""
    numbers = {int(match[2]) for match in found if match}
    ends = _CYCLES.get(words.pop(), _WEEKS)
    whole = len(numbers) == max(numbers) - min(numbers) + 1
    if min(numbers) == 1 and max(numbers) in ends and not whole:
        return _NO_YEAR
    return ""


def _unclear(names: tuple[str, ...], got: str) -> UnclearOrder:
    shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    return UnclearOrder(
        where=f"windows {shown}",
        wanted="names whose order in time is clear",
        got=got,
        then="name every window by year, month and day: 2025-12 or 2025-12-31",
    )


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Numbers count as numbers: w2 comes before w10."""
    parts = [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]
    return parts, name
