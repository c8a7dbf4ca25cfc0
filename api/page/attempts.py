"""How often somebody may try to log in: a key cannot be guessed, but trying costs us work."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable

MOST_ATTEMPTS, SECONDS = 10, 60.0
_MOST_ADDRESSES = 1_000


class Attempts:
    """Failed logins by address, of the last minute; of many addresses the oldest are forgotten."""

    def __init__(self, now: Callable[[], float] | None = None) -> None:
        self._now = now or time.monotonic
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    def may_try(self, address: str) -> bool:
        """Whether this address has failed less than ten times within a minute."""
        times = self._failed.get(address)
        if times is None:
            return True
        while times and times[0] <= self._now() - SECONDS:
            times.popleft()
        if not times:
            del self._failed[address]
        return len(times) < MOST_ATTEMPTS

    def note_failure(self, address: str) -> None:
        """Count a login that failed."""
        self._failed.setdefault(address, deque(maxlen=MOST_ATTEMPTS)).append(self._now())
        self._failed.move_to_end(address)
        while len(self._failed) > _MOST_ADDRESSES:
            self._failed.popitem(last=False)
