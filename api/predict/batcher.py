"""Rows that come in together are answered together: what a call of the model, a record and a commit
cost is shared by all of them.

Nothing waits on purpose. Together are those that come in during a turn of the event loop and the
next, which costs a few microseconds: under load twice as many share a batch as with one turn.
Alone, a request is a batch of one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from api.model.answer import Answered, LoadedModel
from api.predict.predictor import Predictor
from api.refusal import Refusal
from api.rows.rows import Rows

MOST_ROWS = 256  # of a batch; more of them would hold up the event loop and gain nothing


@dataclass(frozen=True, slots=True)
class _Waiting:
    model: LoadedModel
    rows: Rows
    answer: asyncio.Future[tuple[Answered, int]]


class Batcher:
    """Answers rows with `predictor`, as few at a time as come in and as many."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._waiting: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, model: LoadedModel, rows: Rows) -> tuple[Answered, int]:
        """Rows answered by `model` and recorded, these among them, and the place of the first of
        these. Raises as `Predictor.answer`."""
        loop = asyncio.get_running_loop()
        waiting = self._waiting.setdefault(loop, [])
        answer: asyncio.Future[tuple[Answered, int]] = loop.create_future()
        waiting.append(_Waiting(model, rows, answer))
        if len(waiting) == 1:
            loop.call_soon(loop.call_soon, self._part, loop)  # one more look at who is there
        return await answer

    def _part(self, loop: asyncio.AbstractEventLoop) -> None:
        """Batches of one model each, begun at once."""
        batches: list[list[_Waiting]] = []
        rows = 0
        for one in self._waiting.pop(loop):
            rows += len(one.rows)
            if not batches or one.model is not batches[-1][0].model or rows > MOST_ROWS:
                batches.append([])
                rows = len(one.rows)
            batches[-1].append(one)
        for batch in batches:
            task = loop.create_task(self._answer(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, batch: list[_Waiting]) -> None:
        try:
            try:
                answered = await self._predictor.compute(
                    batch[0].model, Rows.join([one.rows for one in batch])
                )
            except Refusal:
                if len(batch) == 1:
                    raise
                for (
                    one
                ) in batch:  # what the model fails on in one request is not the fault of the others
                    await self._answer([one])
                return
            await self._predictor.keep(answered)
        except Exception as error:
            for one in batch:
                if not one.answer.done():  # whoever left has cancelled it
                    one.answer.set_exception(error)
            return
        first = 0
        for one in batch:
            if not one.answer.done():
                one.answer.set_result((answered, first))
            first += len(one.rows)
