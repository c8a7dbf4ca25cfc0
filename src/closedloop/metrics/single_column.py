"""Does a column alone tell the target? Then it is probably written after the target is known.

Each column is learnt on some rows by a small decision tree and scored on others, so that numbers,
categories, nulls and any number of classes have one measure: the AUC of the column alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.decisions.single_column import ColumnAuc
from closedloop.metrics.auc import Labels, measure_auc
from closedloop.metrics.clustering import count_rarest
from closedloop.use_case.contract import MISSING, UseCase

# Fewer rows of a class separate by luck (docs/decisions.md).
ENOUGH_OF_EACH_CLASS = 30
_MOST_ROWS = 20_000
_LEAVES = 16


def measure_single_columns(
    frame: pd.DataFrame, labels: Labels, use_case: UseCase
) -> tuple[ColumnAuc, ...]:
    """The AUC of each feature alone, the highest first; empty with too few rows of a class.

    `frame` holds prepared rows. Half of them answer for the other half, and the other way round.
    """
    classes = len(use_case.target.classes)
    if len(labels) > _MOST_ROWS:
        spread = np.linspace(0, len(labels) - 1, _MOST_ROWS).astype(int)
        frame, labels = frame.iloc[spread], labels[spread]
    if count_rarest(labels, classes) < ENOUGH_OF_EACH_CLASS:
        return ()
    half = _split(labels, use_case.training.seed)
    found = []
    for name, column in use_case.columns.items():
        values = frame[name]
        nulls = _measure(_is_null(values), labels, half, classes)
        alone = _measure(
            values.to_numpy(dtype=float) if column.type == "numeric" else values,
            labels,
            half,
            classes,
        )
        found.append(
            ColumnAuc(
                column=name,
                auc=max(nulls, alone),
                rows=len(labels),
                by_nulls=nulls >= alone,
                allowed=column.known_before_target,
            )
        )
    return tuple(sorted(found, key=lambda each: -each.auc))


def _split(labels: Labels, seed: int) -> NDArray[np.bool_]:
    """A random half of the rows of each class, shape (n,)."""
    order = np.lexsort((np.random.default_rng(seed).random(len(labels)), labels))
    half = np.zeros(len(labels), dtype=np.bool_)
    half[order[::2]] = True
    return half


def _measure(
    values: NDArray[np.float64] | pd.Series[Any],
    labels: Labels,
    half: NDArray[np.bool_],
    classes: int,
) -> float:
    """The mean AUC of a small tree on one column, learnt on one half and scored on the other.

    A number that separates two classes completely has 1: the steps of a tree may miss a few rows.
    """
    found = []
    for taught in (half, ~half):
        if isinstance(values, pd.Series):
            teaching, judging = _rates(values[taught], values[~taught], labels[taught], classes)
        else:
            teaching, judging = values[taught][:, None], values[~taught][:, None]
        found.append(_auc(teaching, judging, labels[taught], labels[~taught], classes))
    mean = sum(found) / len(found)
    if isinstance(values, pd.Series) or classes > 2 or not np.isfinite(values).any():
        return mean
    scores = np.where(np.isfinite(values), values, np.nanmin(values) - 1)
    ranked = measure_auc(labels, np.stack([-scores, scores], axis=1)) or 0.5
    return 1.0 if ranked in (0.0, 1.0) else mean


def _is_null(values: pd.Series[Any]) -> NDArray[np.float64]:
    return np.asarray(values.isna() | (values == MISSING), dtype=float)


def _rates(
    teaching: pd.Series[Any], judging: pd.Series[Any], known: Labels, classes: int
) -> list[NDArray[np.float64]]:
    """How often each category goes with each class in the teaching rows, shape (n, classes)."""
    counts = pd.crosstab(teaching.to_numpy(), known)
    rates = counts.div(counts.sum(axis=1), axis=0).reindex(columns=range(classes), fill_value=0)
    overall = np.bincount(known, minlength=classes) / len(known)
    return [
        rates.reindex(side).fillna(pd.Series(overall)).to_numpy() for side in (teaching, judging)
    ]


def _auc(
    teaching: NDArray[np.float64],
    judging: NDArray[np.float64],
    known: Labels,
    wanted: Labels,
    classes: int,
) -> float:
    from sklearn.tree import DecisionTreeClassifier

    fewest = max(2, min(20, count_rarest(known, classes) // 10))
    tree = DecisionTreeClassifier(
        max_leaf_nodes=_LEAVES, min_samples_leaf=fewest, class_weight="balanced", random_state=0
    )
    tree.fit(teaching, known)
    answers = np.zeros((len(wanted), classes))
    answers[:, tree.classes_] = tree.predict_proba(judging)
    return measure_auc(wanted, answers) or 0.5
