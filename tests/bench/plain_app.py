"""The usual code: a FastAPI route that makes a frame of each request and asks the pipeline. It
checks and records nothing."""

from __future__ import annotations

import os
from typing import Any

import pandas as pd
import skops.io
from fastapi import FastAPI
from pydantic import BaseModel

from closedloop.bundle.skops_model import TRUSTED_TYPES


class Asked(BaseModel):
    """The body of a request."""

    rows: list[dict[str, Any]]


def create_app() -> FastAPI:
    """The app on the pipeline file that BENCH_PIPELINE names."""
    app, pipeline = (
        FastAPI(),
        skops.io.load(os.environ["BENCH_PIPELINE"], trusted=list(TRUSTED_TYPES)),
    )

    @app.post("/predict")
    # `async` although it blocks: as a plain `def`, 16 connections would become 16 threads that
    # share few processors.
    async def predict(asked: Asked) -> dict[str, Any]:
        return {"probabilities": pipeline.predict_proba(pd.DataFrame(asked.rows)).tolist()}

    return app
