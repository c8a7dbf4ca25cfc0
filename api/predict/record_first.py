"""No answer without its record, unless it was decided otherwise: the service's side of the
recorder."""

from __future__ import annotations

from api.metrics.service import Metrics
from api.refusal import Refusal
from closedloop.errors import StoreError
from closedloop.records.queue import Recorder, RecorderBusy
from closedloop.records.request import AnsweredRequest


class Diary:
    """Records what is about to be answered. With `answer_without_records` a fault of the store is
    counted instead of refused."""

    def __init__(
        self, recorder: Recorder, metrics: Metrics, *, answer_without_records: bool = False
    ) -> None:
        self._recorder, self._metrics, self.answer_without_records = (
            recorder,
            metrics,
            answer_without_records,
        )

    @property
    def fault(self) -> str | None:
        """Why the last try to record failed, None when it did not."""
        return self._recorder.fault

    @property
    def obstacle(self) -> str | None:
        """Why nothing can be answered: the fault, unless answers without a record were decided
        on."""
        return None if self.answer_without_records else self.fault

    @property
    def state(self) -> str:
        return "writable" if self.fault is None else f"not writable: {self.fault}"

    async def record(self, request: AnsweredRequest) -> None:
        """Return when all of its rows would survive a crash. Raises Refusal 503 when they cannot be
        recorded."""
        try:
            await self._recorder.record(request)
        except StoreError as error:
            self._metrics.records_failures.inc()
            if not self.answer_without_records:
                seconds = 1 if isinstance(error, RecorderBusy) else None
                raise Refusal(503, f"not recorded, so not answered: {error}", seconds) from error
            self._metrics.unrecorded.inc(request.rows)
