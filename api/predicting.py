"""Rows in, answers of the production model out, recorded and counted: the way that every protocol takes."""

from __future__ import annotations

import logging

from prometheus_client import Counter
from starlette.concurrency import run_in_threadpool

from api.answering import Answered
from api.diary import Diary
from api.messages import Refusal
from api.metrics import Metrics
from api.model import LoadedModel, Production
from api.rows import Rows

_LOG = logging.getLogger("closedloop.service")


class Predictor:
    """Answers rows with the production model, records them, counts them. Every protocol answers through it."""

    def __init__(self, production: Production, diary: Diary, metrics: Metrics) -> None:
        self._production, self._diary, self._metrics = production, diary, metrics
        self._counters: dict[tuple[int, int], Counter] = {}

    @property
    def model(self) -> LoadedModel:
        """The model that answers now. Raises Refusal 503 while there is none."""
        return live_model(self._production)

    @property
    def obstacle(self) -> str | None:
        """Why nothing can be answered now, None when it can."""
        if self._production.current is None:
            return self._production.reason or "no model is loaded"
        return None if self._diary.obstacle is None else f"answers cannot be recorded: {self._diary.obstacle}"

    async def answer(self, model: LoadedModel, rows: Rows, *, in_thread: bool = False) -> Answered:
        """The rows answered by `model` and recorded. Raises Refusal 503 when either failed."""
        answered = await self.compute(model, rows, in_thread=in_thread)
        await self.keep(answered)
        return answered

    async def compute(self, model: LoadedModel, rows: Rows, *, in_thread: bool = False) -> Answered:
        """The rows answered by `model`; not yet to be said. Raises Refusal 503 when it fails on them."""
        if in_thread or not model.scorer.quick:
            return await run_in_threadpool(compute_answers, model, rows)
        return compute_answers(model, rows)

    async def keep(self, answered: Answered) -> None:
        """Record and count; what is answered before is not yet to be said. Raises Refusal 503 when it cannot be recorded."""
        await self._diary.record(answered.record)
        version, best, classes = answered.model.version, answered.best, answered.model.facts.classes
        for number in set(best):
            counter = self._counters.get((version, number))
            if counter is None:
                counter = self._counters[version, number] = self._metrics.predictions.labels(str(version), classes[number])
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


def compute_answers(model: LoadedModel, rows: Rows) -> Answered:
    """Raises Refusal 503 for rows that keep to the contract and that the model fails on all the same."""
    try:
        return model.answer(rows)
    except Exception as error:
        _LOG.exception("version %s could not answer %s rows", model.version, len(rows))
        raise Refusal(503, f"version {model.version} could not answer these rows: {type(error).__name__}: {error}") from error
