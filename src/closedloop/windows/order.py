"""Which windows a step may look at. Pure functions on window names in time order; none ever reaches
into the future.

`names` is always every known window, oldest first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from closedloop.errors import SourceError, UseCaseError


def position(names: Sequence[str], window: str) -> int:
    """Place of `window` in time order, 0 for the oldest. Raises SourceError when there is no such
    window."""
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
    """Every window that existed when `window` was the newest, itself included. Raises SourceError
    as `position` does."""
    return tuple(names[: position(names, window) + 1])


def mature(names: Sequence[str], window: str, delay: int) -> tuple[str, ...]:
    """The windows whose labels are due when `window` is the newest: `delay` windows older, or more.
    Empty when none is.

    Raises SourceError as `position` does, UseCaseError for a negative delay (labels from the
    future).
    """
    if delay < 0:
        raise UseCaseError(
            where="labels.delay_windows",
            wanted="0 or more windows",
            got=str(delay),
            then="mend it in loop.toml",
        )
    return tuple(names[: max(0, position(names, window) + 1 - delay)])


def split_history(labelled: Sequence[str], evaluation: str) -> tuple[str, ...]:
    """The windows that a candidate's twin may learn from: those strictly before the evaluation
    window.

    `labelled` is in time order and holds `evaluation`; raises SourceError otherwise.
    """
    return tuple(labelled[: position(labelled, evaluation)])


def ages(names: Sequence[str], windows: Sequence[str]) -> tuple[int, ...]:
    """How many windows each of `windows` lies behind the newest of them: 0 for the newest itself.

    Counted in `names`, so that a window left out (quarantined, unlabelled) still lets time pass.
    """
    places = [position(names, window) for window in windows]
    newest = max(places, default=0)
    return tuple(newest - place for place in places)


def held_out(keys: Sequence[str], share: float, seed: int) -> NDArray[np.bool_]:
    """Which rows are held out, shape (n,): about `share` of the keys, chosen by a hash of seed and
    key.

    A key's lot depends on nothing but itself, so rows that are added, removed or reordered change
    no other row's, and rows with the same key never fall on both sides.
    """
    bound = int(share * 2**64)
    lots = (hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest() for key in keys)
    return np.fromiter(
        (int.from_bytes(lot, "big") < bound for lot in lots), dtype=np.bool_, count=len(keys)
    )
