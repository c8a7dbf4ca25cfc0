"""The columns that scoring adds to rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from closedloop.bundle.frames import score_frame
from closedloop.bundle.loaded import LoadedVersion
from closedloop.bundle.scorer import are_probabilities
from closedloop.errors import ModelError
from closedloop.metrics.threshold import answer_classes


def score_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns of scores, in their order."""
    return ("prediction", *(f"probability_{label}" for label in classes), "version")


def score_rows(
    model: LoadedVersion, prepared: pd.DataFrame, version: int
) -> dict[str, np.ndarray[Any, Any]]:
    """Columns by name, each of shape (n,): prediction, `probability_CLASS` per class, and version.

    Raises ModelError as the API does.
    """
    classes = model.facts.classes
    answers = np.empty((0, len(classes)))
    if len(prepared):
        answers = score_frame(model.scorer, prepared)
    if not are_probabilities(answers, len(prepared), len(classes)):
        raise ModelError(
            where=f"version {version}",
            wanted=f"{len(classes)} probabilities for each row",
            got=f"shape {answers.shape}, or values that are none",
            then="go back with: closedloop rollback",
        )
    prediction = np.asarray(classes, dtype=object)[answer_classes(answers, model.facts.threshold)]
    versions = np.full(len(prepared), version, dtype=np.int64)
    return dict(zip(score_names(classes), (prediction, *answers.T, versions), strict=True))
