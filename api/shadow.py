"""A candidate in the shadow of the API: what production has answered is handed over to it."""

from __future__ import annotations

from api.metrics.service import Metrics
from api.model.answer import Answered
from api.model.live import Production
from api.predict.predictor import Predictor
from api.predict.record_first import RecordFirst
from closedloop.records.call_counts import ServedCounts
from closedloop.records.shadow import RecordedRequest
from closedloop.shadow.live import LiveShadow


class ShadowedPredictor(Predictor):
    """Answers as `Predictor`, and hands what was recorded to the shadow, which it never hears.

    A class of its own, so that a service without a shadow does nothing for it.
    """

    def __init__(
        self,
        production: Production,
        record_first: RecordFirst,
        metrics: Metrics,
        shadow: LiveShadow,
        served: ServedCounts | None = None,
    ) -> None:
        super().__init__(production, record_first, metrics, served)
        self._shadow, self._records = shadow, record_first

    async def record(self, answered: Answered) -> None:
        """Record and count answers, as `Predictor`; then the shadow may be asked."""
        await super().record(answered)
        if self._records.fault is None:  # what is not recorded has nothing to be compared with
            made = answered.record
            self._shadow.offer(RecordedRequest(made.request, made.rows, answered.features))


class ShadowMetrics:
    """What became of the rows that the shadow was handed."""

    def __init__(self, metrics: Metrics, shadow: LiveShadow) -> None:
        self._answered = metrics.add_counter("shadow_rows", "Rows that the shadow was asked")
        self._dropped = metrics.add_counter(
            "shadow_dropped_rows", "Rows that the shadow was not asked, because too many waited"
        )
        self._failed = metrics.add_counter(
            "shadow_failures", "Requests that the shadow failed on, and writes that failed"
        )
        metrics.add_gauge(
            "shadow_version",
            "Version that answers in the shadow of production; 0 for none",
            lambda: shadow.version or 0,
            "livemax",
        )
        shadow.counting = self

    def answered(self, rows: int) -> None:
        """Count rows that the shadow has answered, or failed on."""
        self._answered.inc(rows)

    def dropped(self, rows: int) -> None:
        """Count rows that it was not asked."""
        self._dropped.inc(rows)

    def failed(self) -> None:
        """Count a request that it failed on, or answers that were lost."""
        self._failed.inc()
