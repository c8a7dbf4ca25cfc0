"""The routes of the service, except the scoring protocols.

Each takes the production model once, so that no request is answered by two versions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from api import answers
from api.guard.limits import KEY, is_trusted
from api.metrics.families import CONTENT_TYPE
from api.metrics.service import Metrics
from api.model.answer import LoadedModel
from api.model.live import Production
from api.predict.predictor import live_model
from api.predict.record_first import RecordFirst
from api.refusal import Refusal
from api.requests import read_json, read_labels
from closedloop.errors import LabelConflict, StoreError
from closedloop.operations.api_keys import ApiKey, Role
from closedloop.records.labels import UnknownPrediction
from closedloop.records.queue import Store

FAULTS: dict[int | str, dict[str, Any]] = {
    413: {"model": answers.ErrorAnswer, "description": "Too many rows or bytes in one request"},
    400: {"model": answers.ErrorAnswer, "description": "A damaged compressed body"},
    415: {
        "model": answers.ErrorAnswer,
        "description": "A body compressed otherwise than with gzip or deflate, or an Arrow stream "
        "with compressed buffers",
    },
    422: {"model": answers.RefusedAnswer, "description": "Invalid fields, each named"},
    503: {
        "model": answers.ErrorAnswer,
        "description": "No model, no store for the record, too many open requests, or out of time",
    },
}
_LABEL_FAULTS: dict[int | str, dict[str, Any]] = {
    403: {
        "model": answers.ErrorAnswer,
        "description": "The key of a viewer, or a correction with another key than an operator's",
    },
    404: {
        "model": answers.ErrorAnswer,
        "description": "Predictions that are not on record, each named",
    },
    409: {
        "model": answers.ErrorAnswer,
        "description": "A label that contradicts the label on record; `replaces` corrects it",
    },
}


def describe_predict(router: APIRouter) -> None:
    """Document /predict. `PredictEndpoint` answers it; the route below never runs."""

    @router.post(
        "/predict",
        response_model=answers.PredictionsAnswer,
        responses=FAULTS,
        summary="Predict one or many rows",
    )
    async def predict() -> None: ...


def build_router(
    production: Production,
    records: Store,
    record_first: RecordFirst,
    metrics: Metrics,
    *,
    max_rows: int,
) -> APIRouter:
    """The routes for labels, health, model and metrics."""
    router = APIRouter()

    def record_labels(body: bytes, key: ApiKey | None) -> Response:
        model = live_model(production)
        labels = read_labels(read_json(body), model.facts.classes, max_rows)
        if any(label.replaces for label in labels):
            _refuse_correction(key)
        by = None if key is None else key.name
        recorded = _write_labels(
            metrics, lambda: records.label_many(labels, use_case=model.use_case.name, by=by)
        )
        metrics.labels.inc(recorded)
        return JSONResponse({"recorded": recorded})

    @router.post(
        "/labels",
        response_model=answers.LabelsAnswer,
        responses={**FAULTS, **_LABEL_FAULTS},
        summary="Send true classes",
    )
    async def label(request: Request) -> Response:
        return await run_in_threadpool(record_labels, await request.body(), request.scope.get(KEY))

    @router.get("/health", response_model=answers.HealthAnswer, summary="Is the process alive?")
    async def health() -> Response:
        return JSONResponse({"alive": True})

    @router.get(
        "/ready",
        response_model=answers.ReadyAnswer,
        responses={503: {"model": answers.ReadyAnswer}},
        summary="Can the service answer?",
    )
    async def ready(request: Request) -> Response:
        current, following = production.current, production.following
        # The texts of errors name hosts, paths and drivers.
        full = is_trusted(request.scope)
        is_ready = current is not None and record_first.obstacle is None
        state = {
            "ready": is_ready,
            "version": current.version if current else None,
            "wanted": following.wanted,
            "registry": _state(following.registry, following.registry_fault, full),
            "records": _state(record_first.state, record_first.fault, full),
            "reason": production.explain(full=full) or record_first.explain(full=full),
            "moved": following.moved or None,
            "refused": {
                version: reason if full else "refused"
                for version, reason in _refused(production).items()
            },
        }
        return JSONResponse(state, 200 if is_ready else 503)

    @router.get(
        "/model",
        response_model=answers.ModelAnswer,
        responses={503: FAULTS[503]},
        summary="Which model answers?",
    )
    async def model() -> Response:
        return JSONResponse(_describe(live_model(production), _refused(production)))

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}},
    )
    async def show_metrics(request: Request) -> Response:
        key = request.scope.get(KEY)
        content = metrics.render(None if key is None else key.allows)
        return Response(content, headers={"content-type": CONTENT_TYPE})

    return router


def _refuse_correction(key: ApiKey | None) -> None:
    """Raises Refusal 403 for a key whose holder may not correct labels; without keys, all may."""
    if key is not None and key.role is not Role.OPERATOR:
        raise Refusal(
            403,
            f"labels: wanted a key with the role operator to correct a label, got {key.name} with "
            f"the role {key.role}: create one with closedloop key add NAME --role operator, or "
            "leave replaces out; no label of this request was recorded",
        )


def _write_labels(metrics: Metrics, write: Callable[[], int]) -> int:
    """The number of labels that `write` recorded.

    Raises Refusal: 404 for an unknown prediction, 409 for a contradiction, 503 without a store.
    """
    try:
        return write()
    except UnknownPrediction as error:
        raise Refusal(404, str(error)) from error
    except LabelConflict as error:
        raise Refusal(409, str(error)) from error
    except StoreError as error:
        metrics.records_failures.inc()
        raise Refusal(503, f"nothing was recorded: {error}") from error


def _state(state: str, fault: str | None, full: bool) -> str:
    return f"{state}: {fault}" if full and fault else state


def _refused(production: Production) -> dict[str, str]:
    return {
        str(version): refusal.reason for version, refusal in production.following.refused.items()
    }


def _describe(model: LoadedModel, refused: dict[str, str]) -> dict[str, Any]:
    facts, use_case = model.facts, model.use_case
    features = {
        name: {
            "type": column.type,
            "minimum": column.minimum,
            "maximum": column.maximum,
            "allowed": column.allowed,
            "optional": column.optional,
            "recorded": name not in model.unrecorded,
        }
        for name, column in use_case.columns.items()
    }
    return {
        "name": facts.name,
        "version": model.version,
        "recipe": facts.recipe,
        "classes": facts.classes,
        "val_auc": facts.val_auc,
        "threshold": facts.threshold,
        "trained_windows": facts.trained_windows,
        "rows": facts.rows,
        "features": features,
        "served_by": model.scorer.served_by,
        "served_reason": model.loaded.proof.reason or None,
        "ms_a_row": model.loaded.proof.milliseconds,
        "loaded_at": model.loaded_at.isoformat(),
        "refused": refused,
    }
