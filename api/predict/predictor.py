"""Rows in, recorded and counted answers of the production model out, for every protocol."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from prometheus_client import Counter
from starlette.concurrency import run_in_threadpool

from api.metrics.service import Metrics
from api.model.answer import Answered, LoadedModel
from api.model.live import Production
from api.predict.record_first import RecordFirst
from api.refusal import Refusal
from api.rows.rows import Rows
from closedloop.records.call_counts import ServedCounts

_LOG = logging.getLogger("closedloop.service")
SMALL = 32_768  # bytes; a larger body is answered in a thread
TIMED_ROWS = 256  # a call with more takes its time from its rows, not from its version

Written = TypeVar("Written")


class Predictor:
    """Answers rows with the production model, records the answers and counts them."""

    def __init__(
        self,
        production: Production,
        record_first: RecordFirst,
        metrics: Metrics,
        served: ServedCounts | None = None,
    ) -> None:
        self._production, self._record_first, self._metrics = production, record_first, metrics
        self._served = served or ServedCounts()
        self._counters: dict[tuple[int, int], Counter] = {}
        # One thread: several would only compete for Python's lock.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="answer-large")

    @property
    def model(self) -> LoadedModel:
        """The live model. Raises Refusal 503 while there is none."""
        return live_model(self._production)

    @property
    def obstacle(self) -> str | None:
        """Why nothing can be answered now, None when it can."""
        return self.explain(full=True)

    def explain(self, *, full: bool) -> str | None:
        """The same as `obstacle`; the text of an error, which may tell hosts, only if `full`."""
        if self._production.current is None:
            return self._production.explain(full=full) or "no model is loaded"
        if self._record_first.obstacle is None:
            return None
        return (
            f"answers cannot be recorded: {self._record_first.obstacle}"
            if full
            else "answers cannot be recorded"
        )

    async def answer(
        self,
        model: LoadedModel,
        read: Callable[[], Rows],
        write: Callable[[Answered], Written],
        *,
        large: bool,
    ) -> Written:
        """Read rows with `read`, answer them with `model`, encode them with `write`, record them.

        A `large` request does all of this in a thread, so that it does not block the others. Raises
        what `read` and `write` raise, and Refusal 503.
        """
        if large:
            loop = asyncio.get_running_loop()
            answered, written = await loop.run_in_executor(
                self._thread, self._answer_whole, model, read, write
            )
        elif model.scorer.quick:
            answered, written = self._answer_whole(model, read, write)
        else:
            answered, written = await run_in_threadpool(self._answer_whole, model, read, write)
        await self.record(answered)
        return written

    async def compute(self, model: LoadedModel, rows: Rows) -> Answered:
        """Rows answered by `model`, not to be sent before they are recorded.

        Raises Refusal 503 when the model fails on them.
        """
        return (
            self._compute(model, rows)
            if model.scorer.quick
            else await run_in_threadpool(self._compute, model, rows)
        )

    async def record(self, answered: Answered) -> None:
        """Record and count answers: only then may they be sent.

        Raises Refusal 503 when they cannot be recorded.
        """
        await self._record_first.record(answered.record)
        version, best, classes = answered.model.version, answered.best, answered.model.facts.classes
        for number in set(best):
            counter = self._counters.get((version, number))
            if counter is None:
                counter = self._counters[version, number] = self._metrics.rows_predicted(
                    version, classes[number]
                )
            counter.inc(best.count(number))
        if answered.warnings:
            self._metrics.warnings.inc(len(answered.warnings))
        self._metrics.features.count(answered)

    def _compute(self, model: LoadedModel, rows: Rows) -> Answered:
        """Rows answered by `model`. Raises Refusal 503 for valid rows that it fails on."""
        began = time.perf_counter()
        try:
            answered = model.answer(rows)
        except Exception as error:
            self._served.count(model.version, time.time(), None, failed=True)
            _LOG.exception("version %s could not answer %s rows", model.version, len(rows))
            raise Refusal(
                503,
                f"version {model.version} could not answer these rows: "
                f"{type(error).__name__}: {error}",
            ) from error
        seconds = time.perf_counter() - began if len(rows) <= TIMED_ROWS else None
        self._served.count(model.version, time.time(), seconds, failed=False)
        return answered

    def _answer_whole(
        self,
        model: LoadedModel,
        read: Callable[[], Rows],
        write: Callable[[Answered], Written],
    ) -> tuple[Answered, Written]:
        answered = self._compute(model, read())
        _ = answered.record  # built here, where it blocks no other request
        return answered, write(answered)


def live_model(production: Production) -> LoadedModel:
    """The model that answers now. Raises Refusal 503 while there is none."""
    current = production.current
    if current is None:
        raise Refusal(503, production.reason or "no model is loaded: retry in a moment")
    return current
