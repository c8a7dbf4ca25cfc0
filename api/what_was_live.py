"""`GET /api/live`: what was live when, and where a prediction came from."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from api import answers
from api.refusal import Refusal
from closedloop.errors import StoreError, UseCaseError
from closedloop.records.labels import UnknownPrediction


class Questions(Protocol):
    """What the route needs of `closedloop.turn.live_questions.LiveQuestions`."""

    def at(self, text: str | None, /) -> dict[str, Any]: ...

    def prediction(self, id: str, /) -> dict[str, Any]: ...


_FAULTS: dict[int | str, dict[str, Any]] = {
    404: {"model": answers.ErrorAnswer, "description": "A prediction that is not on record"},
    422: {"model": answers.ErrorAnswer, "description": "No time in ISO 8601, or one to come"},
    503: {"model": answers.ErrorAnswer, "description": "The journal or the records do not answer"},
}


def build_router(questions: Questions | None) -> APIRouter:
    """The route; without `questions` it answers 503."""
    router = APIRouter()

    def answer(at: str | None, prediction: str | None) -> dict[str, Any]:
        if questions is None:
            raise Refusal(503, "this service has no journal")
        if at is not None and prediction is not None:
            raise Refusal(422, "at and prediction: ask for one of them")
        try:
            return questions.at(at) if prediction is None else questions.prediction(prediction)
        except UseCaseError as error:
            raise Refusal(422, str(error)) from error
        except UnknownPrediction as error:
            raise Refusal(404, str(error)) from error
        except StoreError as error:
            raise Refusal(503, str(error)) from error

    @router.get(
        "/api/live",
        response_model=answers.LiveAnswer | answers.PredictionLiveAnswer,
        responses=_FAULTS,
        summary="What was live when, and where did a prediction come from?",
    )
    async def live(
        at: Annotated[
            str | None,
            Query(description="date or time in ISO 8601, UTC without a zone; now if left out"),
        ] = None,
        prediction: Annotated[
            str | None, Query(description="id of a prediction, instead of a time")
        ] = None,
    ) -> Response:
        return JSONResponse(await run_in_threadpool(answer, at, prediction))

    return router
