"""Rows in, answers of the production model out, recorded and counted: the way that every protocol
takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from prometheus_client import Counter
from starlette.concurrency import run_in_threadpool

from api.metrics.service import Metrics
from api.model.answer import Answered, LoadedModel
from api.model.live import Production
from api.predict.record_first import RecordFirst
from api.rows.rows import Rows
from api.schemas import Refusal

_LOG = logging.getLogger("closedloop.service")
SMALL = 32_768  # bytes; a larger body is worth a thread

Written = TypeVar("Written")


class Predictor:
    """Answers rows with the production model, records them, counts them. Every protocol answers
    through it."""

    def __init__(self, production: Production, record_first: RecordFirst, metrics: Metrics) -> None:
        self._production, self._record_first, self._metrics = production, record_first, metrics
        self._counters: dict[tuple[int, int], Counter] = {}
        # One: several would only take turns with Python's lock, and each turn costs.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="answer-large")

    @property
    def model(self) -> LoadedModel:
        """The model that answers now. Raises Refusal 503 while there is none."""
        return live_model(self._production)

    @property
    def obstacle(self) -> str | None:
        """Why nothing can be answered now, None when it can."""
        if self._production.current is None:
            return self._production.reason or "no model is loaded"
        return (
            None
            if self._record_first.obstacle is None
            else f"answers cannot be recorded: {self._record_first.obstacle}"
        )

    async def answer(
        self,
        model: LoadedModel,
        read: Callable[[], Rows],
        write: Callable[[Answered], Written],
        *,
        large: bool,
    ) -> Written:
        """What `write` makes of the rows of `read`, answered by `model` and recorded. Raises as
        both do, and Refusal 503.

        Those of a `large` request do all their work in one visit to a thread, so that it does not
        hold up the others.
        """
        if large:
            loop = asyncio.get_running_loop()
            answered, written = await loop.run_in_executor(
                self._thread, _answer_whole, model, read, write
            )
        elif model.scorer.quick:
            answered, written = _answer_whole(model, read, write)
        else:
            answered, written = await run_in_threadpool(_answer_whole, model, read, write)
        await self.keep(answered)
        return written

    async def compute(self, model: LoadedModel, rows: Rows) -> Answered:
        """The rows answered by `model`; not yet to be said. Raises Refusal 503 when it fails on
        them."""
        return (
            _compute(model, rows)
            if model.scorer.quick
            else await run_in_threadpool(_compute, model, rows)
        )

    async def keep(self, answered: Answered) -> None:
        """Record and count; what is answered before is not yet to be said. Raises Refusal 503 when
        it cannot be recorded."""
        await self._record_first.record(answered.record)
        version, best, classes = answered.model.version, answered.best, answered.model.facts.classes
        for number in set(best):
            counter = self._counters.get((version, number))
            if counter is None:
                counter = self._counters[version, number] = self._metrics.predictions.labels(
                    str(version), classes[number]
                )
            counter.inc(best.count(number))
        if answered.warnings:
            self._metrics.warnings.inc(len(answered.warnings))
        self._metrics.features.count(answered)


def live_model(production: Production) -> LoadedModel:
    """Raises Refusal 503 while nothing answers."""
    current = production.current
    if current is None:
        raise Refusal(503, production.reason or "no model is loaded: ask again in a moment")
    return current


def _compute(model: LoadedModel, rows: Rows) -> Answered:
    """Raises Refusal 503 for rows that keep to the contract and that the model fails on all the
    same."""
    try:
        return model.answer(rows)
    except Exception as error:
        _LOG.exception("version %s could not answer %s rows", model.version, len(rows))
        raise Refusal(
            503,
            f"version {model.version} could not answer these rows: {type(error).__name__}: {error}",
        ) from error


def _answer_whole(
    model: LoadedModel, read: Callable[[], Rows], write: Callable[[Answered], Written]
) -> tuple[Answered, Written]:
    answered = _compute(model, read())
    _ = answered.record  # written down here, where it holds up nobody
    return answered, write(answered)
