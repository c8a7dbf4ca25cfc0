"""The windows that a run used, as MLflow and DVC show them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def hash_data(windows: Mapping[str, str]) -> str:
    """One sha256 for windows in their order, each with its own; 64 hex digits."""
    return hashlib.sha256(json.dumps(list(windows.items())).encode()).hexdigest()


def describe_inputs(windows: Mapping[str, str], used: str) -> list[Any]:
    """Windows with their sha256 as the inputs of a run; `used` is what for.

    MLflow's own digest ignores most rows of a frame, so it gets ours; 36 of its 64 digits fit.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(
                name=window,
                digest=digest[:36],
                source_type="closedloop",
                source=json.dumps({"window": window}),
            ),
            [InputTag("mlflow.data.context", used)],
        )
        for window, digest in windows.items()
    ]
