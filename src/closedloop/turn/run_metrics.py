"""What was measured, as the metrics of a run in MLflow; what could not be measured is left out."""

from __future__ import annotations

from collections.abc import Mapping
from posixpath import normpath

from closedloop.decisions.deciding_measure import MEASURES
from closedloop.decisions.evidence import Comparison, Scores
from closedloop.metrics.importance import Importance

MOST_METRICS = 50  # columns; MLflow takes 1,000 metrics at once


def describe_comparison(chosen: Comparison, importance: Importance | None) -> dict[str, float]:
    """The candidate's numbers."""
    found: dict[str, float | None] = {
        "baseline_auc": chosen.baseline_auc,
        "production_val_auc": chosen.production.val_auc if chosen.production else None,
    }
    if (known := chosen.production) is not None and known.measured is not None:
        measure = known.measured.measure
        found["production_" + measure] = MEASURES[measure].turn(known.measured.value)
    for name, delta in [
        ("delta", chosen.delta),
        *((f"delta_{part.name}", part.delta) for part in chosen.slices),
    ]:
        if delta is not None:
            found |= {name: delta.value, f"{name}_lower": delta.lower, f"{name}_upper": delta.upper}
    if importance is not None:
        needed = importance.columns[:MOST_METRICS]
        found |= {f"importance_{column.column}": column.loss for column in needed}
    return describe_scores(chosen.candidate) | name_metrics(found)


def describe_scores(scores: Scores) -> dict[str, float]:
    """A model's scores, also by class."""
    found: dict[str, float | None] = {
        "val_auc": scores.val_auc,
        "accuracy": scores.accuracy,
        "f1": scores.f1,
        "log_loss": scores.log_loss,
        "brier": scores.brier,
        "calibration_error": scores.calibration_error,
    }
    if scores.measured is not None:
        measure = scores.measured.measure
        found[measure] = MEASURES[measure].turn(scores.measured.value)
    for label in scores.classes:
        found |= {
            f"precision_{label.label}": label.precision,
            f"recall_{label.label}": label.recall,
            f"f1_{label.label}": label.f1,
        }
    return name_metrics(found)


def name_metrics(found: Mapping[str, float | None]) -> dict[str, float]:
    """The numbers that are known, under names that MLflow allows.

    It allows letters, digits, a few signs and what could be a path.
    """
    return {_metric_name(name): value for name, value in found.items() if value is not None}


def _metric_name(name: str) -> str:
    allowed = "".join(sign if sign.isalnum() or sign in "_-. /" else "_" for sign in name)[:250]
    return allowed if normpath(allowed) == allowed else allowed.replace("/", "_")
