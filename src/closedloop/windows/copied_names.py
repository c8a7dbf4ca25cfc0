"""Names that say that a window is a copy of another: "2026-01 (1)", "Copy of 2026-01"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType

from closedloop.windows.time_words import CONVENTIONS, read_time

_WORD = (
    r"(?:copy|kopie|copie|copia|finale?|final|new|neu|old|alt|backup|bak|orig|original|draft|"
    r"corrected|korrigiert|fixed|revised|v|version|dup|duplicate|conflict)"
)
# What programs and people put behind a name, or before it, to have it twice.
_BEHIND = re.compile(
    rf"(?:\s*\(\d{{1,3}}\)|[\s_.-]+\(?{_WORD}[\s_.-]*\(?\d{{0,3}}\)?|~+\d*)$", re.IGNORECASE
)
_BEFORE = re.compile(
    r"(?:^|(?<=/))(?:copy(?: \(?\d{1,3}\)?)? of|kopie von|copie de|copia de)\s+", re.IGNORECASE
)


def find_copies(names: Iterable[str]) -> Mapping[str, str]:
    """The names that are a copy by what they are called, each with its original beside it.

    Only where the original names a time: "batch", "batch (1)" and "batch (2)" are a series.
    """
    return _find_all(frozenset(names))


@lru_cache(maxsize=64)
def _find_all(known: frozenset[str]) -> Mapping[str, str]:
    found = {name: _find_original(name, known) for name in sorted(known)}
    return MappingProxyType(
        {name: original for name, original in found.items() if original is not None}
    )


def _find_original(name: str, known: frozenset[str]) -> str | None:
    """The longest of the names that is left when marks of a copy are taken away."""
    waiting, seen = [name], {name}
    while waiting:
        shorter = waiting.pop(0)
        if shorter != name and shorter in known:
            times = (read_time(shorter, convention) for convention in CONVENTIONS)
            return shorter if any(time is not None for time in times) else None
        for mark in (_BEHIND, _BEFORE):
            rest = mark.sub("", shorter)
            if rest and rest not in seen:
                seen.add(rest)
                waiting.append(rest)
    return None
