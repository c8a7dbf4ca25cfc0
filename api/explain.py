"""POST /explain: what each column of a row adds to its score, off the path of /predict.

It needs the pipeline, with pandas and scikit-learn: a process of its own loads them when the first
request comes. One request at a time is explained, and its time is limited.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from threading import Lock
from typing import Any

from fastapi import APIRouter, Request, Response

from api import answers
from api.guard.limits import RETRY_SECONDS
from api.model.answer import LoadedModel
from api.model.live import Production
from api.predict.predictor import live_model
from api.refusal import Refusal
from api.rows.pack import Packer
from closedloop.bundle.explaining import Explained, RowExplainer
from closedloop.records.request import to_json

_LOG = logging.getLogger("closedloop.service")
MAX_EXPLAINED_ROWS = 100
_NEEDED = ("pandas", "sklearn", "skops")

OpenExplainer = Callable[[int], RowExplainer]


class Explanations:
    """Explains rows by the live version.

    `open_explainer` opens that of a version; the newest is kept.
    """

    def __init__(
        self,
        production: Production,
        open_explainer: OpenExplainer | None,
        *,
        max_rows: int,
        seconds: float,
    ) -> None:
        self._production, self._open_explainer = production, open_explainer
        self._max_rows, self._seconds = max_rows, seconds
        self._free = Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self._kept: tuple[LoadedModel, RowExplainer] | None = None

    async def answer(self, body: bytes) -> bytes:
        """The JSON answer to the body of a request.

        Raises Refusal: 422 and 413 as /predict, 429 while another request is explained, 501 without
        the libraries, 503 without a model and when the rows cannot be explained, or not in time.
        """
        model = live_model(self._production)
        missing = [name for name in _NEEDED if find_spec(name) is None]
        if missing or self._open_explainer is None:
            what = f"{', '.join(_NEEDED)} to explain a row, got no {', '.join(missing)}"
            raise Refusal(501, f"wanted {what}" if missing else "rows are not explained here")
        if not self._free.acquire(blocking=False):
            raise Refusal(
                429, "another request is being explained: retry in a moment", RETRY_SECONDS
            )
        end = time.monotonic() + self._seconds
        working = self._thread.submit(self._explain, model, self._open_explainer, body, end)
        # When the work ends, not when its answer is awaited no longer.
        working.add_done_callback(lambda _: self._free.release())
        return await asyncio.wrap_future(working)

    def close(self) -> None:
        """End what explains rows."""
        self._thread.submit(self._drop).result()

    def _explain(
        self, model: LoadedModel, open_explainer: OpenExplainer, body: bytes, end: float
    ) -> bytes:
        rows = model.reader.read(body, self._max_rows)
        packed = Packer(model.use_case).pack(rows)
        try:
            if self._kept is None or self._kept[0] is not model or not self._kept[1].alive:
                self._drop()
                self._kept = model, open_explainer(model.version)
            left = end - time.monotonic()
            explained = self._kept[1].explain(packed.numbers, packed.texts, left)
        except TimeoutError as error:
            raise Refusal(
                503,
                f"not explained within {self._seconds:g} s, {error}: send fewer rows, or retry",
                RETRY_SECONDS,
            ) from error
        except Exception as error:
            self._drop()
            _LOG.exception("version %s could not explain %s rows", model.version, len(rows))
            raise Refusal(
                503, f"version {model.version} could not explain these rows: {error}"
            ) from error
        return _encode(model, explained)

    def _drop(self) -> None:
        if self._kept is not None:
            self._kept[1].close()
        self._kept = None


def build_router(explanations: Explanations, faults: dict[int | str, dict[str, Any]]) -> APIRouter:
    """The route. `faults` are the documented refusals of /predict."""
    router = APIRouter()
    refusals: dict[int | str, dict[str, Any]] = {
        429: {"model": answers.ErrorAnswer, "description": "Another request is being explained"},
        501: {"model": answers.ErrorAnswer, "description": "Libraries that it needs are missing"},
    }

    @router.post(
        "/explain",
        response_model=answers.ExplanationsAnswer,
        responses={**faults, **refusals},
        summary="Why this score? What each column adds to it",
    )
    async def explain(request: Request) -> Response:
        content = await explanations.answer(await request.body())
        return Response(content, media_type="application/json")

    return router


def _encode(model: LoadedModel, explained: Explained) -> bytes:
    def named(values: Sequence[float]) -> dict[str, float]:
        parts = dict(zip(explained.columns, values, strict=True))
        return {name: parts[name] for name in model.use_case.columns}

    def describe(row: int, place: int) -> dict[str, Any]:
        errors = explained.errors
        return {
            "margin": explained.margins[row][place],
            "base": explained.base[place],
            "contributions": named(explained.values[row][place]),
            "errors": None if errors is None else named(errors[row][place]),
        }

    classes = list(enumerate(explained.classes))
    return to_json(
        {
            "model": model.facts.name,
            "version": model.version,
            "method": explained.method,
            "evaluations": explained.evaluations,
            "explanations": [
                {"classes": {name: describe(row, place) for place, name in classes}}
                for row in range(len(explained.margins))
            ],
        }
    )
