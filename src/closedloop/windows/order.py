"""Which windows a step may look at, and which rows are held out: never anything from the future.

Pure functions; `names` is always every known window, oldest first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from closedloop.errors import SourceError, UseCaseError
from closedloop.use_case.contract import Column
from closedloop.windows.time_names import in_time_order


def position(names: Sequence[str], window: str) -> int:
    """Place of `window` in time order, 0 for the oldest.

    Raises SourceError when there is no such window.
    """
    try:
        return list(names).index(window)
    except ValueError:
        known = f"{names[0]} to {names[-1]}" if names else "none"
        raise SourceError(
            where="windows",
            wanted=f"a known window ({known})",
            got=window,
            then="check the name, or [source] of loop.toml",
        ) from None


def up_to(names: Sequence[str], window: str) -> tuple[str, ...]:
    """Every window that existed when `window` was the newest, itself included.

    Raises SourceError as `position` does.
    """
    return tuple(names[: position(names, window) + 1])


def mature(names: Sequence[str], window: str, delay: int) -> tuple[str, ...]:
    """The windows whose labels are due when `window` is the newest: at least `delay` windows older.

    Raises SourceError as `position` does, UseCaseError for a negative delay (labels from the
    future).
    """
    if delay < 0:
        raise UseCaseError(
            where="labels.delay_windows",
            wanted="0 or more windows",
            got=str(delay),
            then="fix it in loop.toml",
        )
    return tuple(names[: max(0, position(names, window) + 1 - delay)])


def columns_not_yet(
    columns: Mapping[str, Column], names: Sequence[str], window: str
) -> frozenset[str]:
    """The columns that came after `window`: `since` is a newer one.

    A `since` that is no window is placed among them by its name.
    """
    return frozenset(
        name
        for name, column in columns.items()
        if column.since is not None and _is_before(window, column.since, names)
    )


def _is_before(window: str, since: str, names: Sequence[str]) -> bool:
    ordered = names if since in names else in_time_order({*names, since})
    return position(ordered, window) < position(ordered, since)


def held_out(keys: Sequence[str], share: float, seed: int) -> NDArray[np.bool_]:
    """Which rows are held out, shape (n,): about `share` of the keys, by a hash of seed and key.

    The hash depends on nothing else: adding, removing or reordering rows changes no other row, and
    rows with the same key are never split.
    """
    bound = int(share * 2**64)
    hashes = (hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest() for key in keys)
    below = (int.from_bytes(digest, "big") < bound for digest in hashes)
    return np.fromiter(below, dtype=np.bool_, count=len(keys))
