"""No answer without its record: the service's rule for what happens when recording fails."""

from __future__ import annotations

from api.metrics.service import Metrics
from api.refusal import Refusal
from closedloop.errors import StoreError
from closedloop.records.queue import QueueFull, RecordQueue
from closedloop.records.request import AnsweredRequest


class RecordFirst:
    """Records an answer before it is given; an answer that cannot be recorded is refused.

    With `answer_without_records` it is given all the same, and counted.
    """

    def __init__(
        self, queue: RecordQueue, metrics: Metrics, *, answer_without_records: bool = False
    ) -> None:
        self._queue, self._metrics = queue, metrics
        self._answer_without_records = answer_without_records

    @property
    def fault(self) -> str | None:
        """Why the last attempt to record failed; None when it succeeded."""
        return self._queue.fault

    @property
    def obstacle(self) -> str | None:
        """Why nothing can be answered: the fault, unless answers without a record are allowed."""
        return None if self._answer_without_records else self.fault

    def explain(self, *, full: bool) -> str | None:
        """Why answers cannot be recorded, with the text of the error only if `full`."""
        return self.fault if full or self.fault is None else "answers cannot be recorded"

    @property
    def state(self) -> str:
        return "writable" if self.fault is None else "not writable"

    async def record(self, request: AnsweredRequest) -> None:
        """Return when all rows would survive a crash.

        Raises Refusal 503 when they cannot be recorded.
        """
        try:
            await self._queue.record(request)
        except StoreError as error:
            self._metrics.records_failures.inc()
            if not self._answer_without_records:
                seconds = 1 if isinstance(error, QueueFull) else None
                raise Refusal(503, f"not recorded, so not answered: {error}", seconds) from error
            self._metrics.unrecorded.inc(request.rows)
