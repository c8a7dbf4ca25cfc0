"""Windows that are missing: periods between the others for which there is no name."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from closedloop.windows.copied_names import find_copies
from closedloop.windows.time_words import CONVENTIONS, read_time

_DAY, _SATURDAY, _LONGEST = 86_400, 5, 10


@dataclass(frozen=True)
class _Periods:
    """The period of each name, oldest first, and those between them that no name is of.

    A month is counted from the year 0, any other period by the second at which it begins.
    """

    starts: tuple[int, ...]
    missing: tuple[int, ...]
    step: int
    monthly: bool


def find_missing(names: Sequence[str]) -> tuple[str, ...]:
    """The periods that are missing between names of one period: hours, days, weeks, months.

    None, when more than a third are: then the names keep no rhythm. Weekends are not missing where
    no name is of one.
    """
    found = _find_periods(names)
    if found is None:
        return ()
    name = _name_month if found.monthly else _name_moment
    return tuple(name(start, found.step) for start in found.missing)


def calendar_places(names: Sequence[str]) -> tuple[int, ...]:
    """The place of each window, 0 for the oldest: one that is missing takes a place, too.

    A copy has the place of its original.
    """
    copies = find_copies(names)
    kept = [name for name in names if name not in copies]
    found = _find_periods(kept)
    places = {name: place for place, name in enumerate(kept)}
    if found is not None:
        for name, start in zip(kept, found.starts, strict=True):
            places[name] += bisect_left(found.missing, start)
    return tuple(places[_find_original(name, copies)] for name in names)


def _find_original(name: str, copies: Mapping[str, str]) -> str:
    while name in copies:
        name = copies[name]
    return name


def _find_periods(names: Sequence[str]) -> _Periods | None:
    """None when the names are no dates, or keep no rhythm."""
    moments = _read_moments(names)
    if len(set(moments)) < 3:
        return None
    monthly = all(moment.day == 1 and moment.hour == 0 for moment in moments)
    starts = [
        12 * moment.year + moment.month - 1 if monthly else int(moment.timestamp())
        for moment in moments
    ]
    step = math.gcd(*(later - earlier for earlier, later in pairwise(starts)))
    if (starts[-1] - starts[0]) // step > _LONGEST * len(starts):
        return None
    missing = sorted(set(range(starts[0], starts[-1], step)) - set(starts))
    if step == _DAY and all(moment.weekday() < _SATURDAY for moment in moments):
        missing = [day for day in missing if datetime.fromtimestamp(day, UTC).weekday() < _SATURDAY]
    if 2 * len(missing) > len(starts):
        return None
    return _Periods(tuple(starts), tuple(missing), step, monthly)


def _read_moments(names: Sequence[str]) -> list[datetime]:
    """The first moment of each period, by a reading in which they are in order; none without."""
    for convention in CONVENTIONS:
        found = [read_time(name, convention) for name in names]
        walls = [reading.wall for reading in found if reading is not None and not reading.cycle]
        if len(walls) == len(names) and walls == sorted(walls):
            return [datetime.fromtimestamp(wall, UTC) for wall in walls]
    return []


def _name_month(place: int, step: int) -> str:
    year, month = divmod(place, 12)
    return f"{year}-Q{month // 3 + 1}" if step == 3 else f"{year}-{month + 1:02}"


def _name_moment(place: int, _step: int) -> str:
    moment = datetime.fromtimestamp(place, UTC)
    return f"{moment:%Y-%m-%d}" if moment.hour == 0 else f"{moment:%Y-%m-%dT%H:%M}"
