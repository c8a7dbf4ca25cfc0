"""What the loop is told of each version: calls of its model, once a minute, in the database.

The metrics are for people and start anew with the service; this is evidence of the watch after a
promotion.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from math import inf

from closedloop.errors import StoreError
from closedloop.records.call_counts import ServedCounts, ServedMinute

NoteServed = Callable[[Sequence[ServedMinute]], object]
_LOG = logging.getLogger("closedloop.service")
_EVERY_SECONDS = 60.0


class ServedNotes:
    """Counts calls, and writes the minutes that are over with `note`; without one they are lost.

    While the database is away the minutes wait: an answer never does.
    """

    def __init__(self, note: NoteServed | None, now: Callable[[], float] = time.time) -> None:
        self.counts = ServedCounts()
        self._note, self._now = note, now
        self._written_at, self._failing = now(), False

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return self._now() - self._written_at >= _EVERY_SECONDS

    def write(self) -> None:
        """Write the minutes that are over; never raises."""
        self._written_at = self._now()
        self._write(self._written_at)

    def write_all(self) -> None:
        """Write the current minute, too, at the end of the service; never raises."""
        self._write(inf)

    def _write(self, until: float) -> None:
        minutes = self.counts.take(until)
        if self._note is None or not minutes:
            return
        try:
            self._note(minutes)
        except StoreError as error:
            self.counts.put_back(minutes)
            if not self._failing:
                _LOG.warning("counts of calls cannot be written, they wait: %s", error)
            self._failing = True
        else:
            self._failing = False
