"""Requests that arrive together are answered together: one model call, one record, one commit.

Nothing waits on purpose. A batch holds what arrives within two turns of the event loop, a few
microseconds: under load it is twice as large as with one turn. A lone request is a batch of one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from api.model.answer import Answered, LoadedModel
from api.predict.predictor import Predictor
from api.refusal import Refusal
from api.rows.rows import Rows

MAX_BATCH_ROWS = 256  # more would block the event loop and gain nothing


@dataclass(frozen=True, slots=True)
class _Request:
    model: LoadedModel
    rows: Rows
    answer: asyncio.Future[tuple[Answered, int]]


class Batcher:
    """Answers the rows of all requests that arrive together with one call of `predictor`."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._waiting: dict[asyncio.AbstractEventLoop, list[_Request]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, model: LoadedModel, rows: Rows) -> tuple[Answered, int]:
        """The answered and recorded batch that holds `rows`, and the place of its first row.

        Raises Refusal 503 when the model fails or the answer cannot be recorded.
        """
        loop = asyncio.get_running_loop()
        waiting = self._waiting.setdefault(loop, [])
        answer: asyncio.Future[tuple[Answered, int]] = loop.create_future()
        waiting.append(_Request(model, rows, answer))
        if len(waiting) == 1:
            loop.call_soon(loop.call_soon, self._start_batches, loop)  # after one more turn
        return await answer

    def _start_batches(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start a batch for each model, or several of at most MAX_BATCH_ROWS."""
        batches: list[list[_Request]] = []
        rows = 0
        for request in self._waiting.pop(loop):
            rows += len(request.rows)
            model_differs = not batches or request.model is not batches[-1][0].model
            if model_differs or rows > MAX_BATCH_ROWS:
                batches.append([])
                rows = len(request.rows)
            batches[-1].append(request)
        for batch in batches:
            task = loop.create_task(self._answer(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, batch: list[_Request]) -> None:
        try:
            try:
                answered = await self._predictor.compute(
                    batch[0].model, Rows.join([request.rows for request in batch])
                )
            except Refusal:
                if len(batch) == 1:
                    raise
                for request in batch:  # rows that the model fails on must not refuse the others
                    await self._answer([request])
                return
            await self._predictor.record(answered)
        except Exception as error:
            for request in batch:
                if not request.answer.done():  # cancelled when the client has left
                    request.answer.set_exception(error)
            return
        first = 0
        for request in batch:
            if not request.answer.done():
                request.answer.set_result((answered, first))
            first += len(request.rows)
