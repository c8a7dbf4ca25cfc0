"""From a window's name to evidence: reads with the hands, measures with the senses, judges
nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from closedloop.decisions.evidence import DriftReport, RetrainingEvidence, RollbackEvidence
from closedloop.decisions.retraining import drift_over_limit, loss_over_limit
from closedloop.turn.compute import ReadWindow
from closedloop.turn.history import History
from closedloop.turn.ports import Parts
from closedloop.turn.realised import judge_production, watch_promotion
from closedloop.turn.without_labels import estimate_without_labels

PREDICTION, TARGET = "(prediction)", "(target)"


@dataclass(frozen=True)
class Turn:
    """What one look at a window showed. `details` are the facts that the journal keeps; `report` is
    Evidently's page."""

    key: str
    evidence: RetrainingEvidence
    rollback: RollbackEvidence | None = None
    details: dict[str, Any] = field(default_factory=dict)
    report: str | None = field(default=None, repr=False)


def gather_turn(history: History[Parts], *, requested: bool = False) -> Turn:
    """Look at the current window: contract first, then drift, realised performance and what a
    rollback would have to know."""
    policy, window = history.loop.use_case.policy, history.read(history.window)
    state, key = history.state(), history.key("requested" if requested else "retraining")
    details = describe_window(window)
    if window.violations:
        return Turn(
            key,
            RetrainingEvidence(window.facts, state, violations=window.violations),
            None,
            details,
        )

    drift, report = (
        measure_window_drift(history, window) if history.bundle is not None else (None, None)
    )
    realised = judge_production(history, state)
    newer = realised.newer
    counts = (
        np.sum(
            [[count for _, count in history.read(name).facts.labels_per_class] for name in newer],
            axis=0,
        )
        if newer
        else None
    )
    new_labels = (
        ()
        if counts is None
        else tuple(
            zip(history.loop.use_case.target.classes, (int(count) for count in counts), strict=True)
        )
    )

    evidence = RetrainingEvidence(
        window=window.facts,
        state=state,
        drift=drift,
        realised_auc=realised.auc,
        new_labels=new_labels,
        requested=requested,
        production_error=history.production_error,
    )
    details |= {
        "drift_share": drift.drift_share if drift else None,
        "drifted_columns": list(drift.drifted_columns) if drift else [],
        "drift_over": drift_over_limit(evidence, policy),
        "loss_over": loss_over_limit(evidence, policy),
        **realised.details,
    }
    # Where the current window's own labels have told, nothing has to be estimated.
    told = details.get("realised_on") == window.facts.name
    mistrusted = history.quarantined() | (
        {details["realised_on"]} if details.get("quarantined") else set()
    )
    details |= estimate_without_labels(
        history, () if told else tuple(name for name in newer if name not in mistrusted)
    )
    return Turn(key, evidence, watch_promotion(history, state, realised.judged), details, report)


def describe_window(window: ReadWindow) -> dict[str, Any]:
    """What the journal keeps of a window whatever is found in it."""
    return {
        "rows": window.facts.rows,
        "labelled_rows": window.facts.labelled_rows,
        "digest": window.facts.digest,
    }


def measure_window_drift(
    history: History[Parts], window: ReadWindow
) -> tuple[DriftReport, str | None]:
    """The window held against production's reference, features, predictions and target; needs a
    production that can be asked."""
    use_case, bundle = history.loop.use_case, history.bundle
    assert bundle is not None
    answers = history.answers(window.facts.name)
    current = watched_frame(window.prepared, answers, history)
    reference = bundle.reference()
    numeric = [name for name in use_case.numeric if use_case.columns[name].watch]
    categorical = [name for name in use_case.categorical if use_case.columns[name].watch]
    (numeric if len(use_case.target.classes) == 2 else categorical).append(PREDICTION)
    if window.facts.labelled_rows and TARGET in reference:
        categorical.append(TARGET)
    return history.loop.compute.measure_drift(
        reference,
        current,
        numeric=tuple(numeric),
        categorical=tuple(categorical),
        policy=use_case.policy.drift,
        reference_name=f"version {history.production.version if history.production else '?'}",
        current_name=window.facts.name,
        seed=use_case.training.seed,
        ignore_nulls=frozenset({PREDICTION, TARGET}),
        max_drift_share=use_case.policy.retraining.max_drift_share,
    )


def watched_frame(
    prepared: pd.DataFrame, probabilities: np.ndarray | None, history: History[Parts]
) -> pd.DataFrame:
    """The columns that drift is measured on: features, production's prediction (the probability of
    the second of two classes, else the likeliest class) and the target; missing where they are not
    known."""
    use_case = history.loop.use_case
    frame = prepared[list(use_case.columns)].copy()
    classes = np.asarray(use_case.target.classes, dtype=object)
    if len(classes) == 2:
        frame[PREDICTION] = np.nan if probabilities is None else probabilities[:, 1]
    else:
        frame[PREDICTION] = None if probabilities is None else classes[probabilities.argmax(axis=1)]
    frame[TARGET] = prepared.get(use_case.target.column)
    return frame
