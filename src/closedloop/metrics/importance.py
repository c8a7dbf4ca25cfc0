"""How much a model needs each column: the AUC that it loses when the column's values are shuffled.

Permutation importance (Breiman 2001, Machine Learning 45:5), on rows that are new to the model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.metrics.auc import Labels, Probabilities, measure_auc

SHUFFLES = 5
_MOST_ROWS, _FEWEST_ROWS, _MOST_VALUES = 1_000, 500, 20_000

Predict = Callable[[pd.DataFrame], Probabilities]


@dataclass(frozen=True)
class ColumnImportance:
    """The AUC that a model loses without what a column says: the mean over shuffles, and its error.

    `production_loss` is what production loses, shuffled alike, `change` the loss minus that; None
    without production, and where production does not have the column. Errors are standard errors
    over the shuffles alone: they say nothing about other rows.
    """

    column: str
    loss: float
    error: float
    production_loss: float | None = None
    change: float | None = None
    change_error: float | None = None


@dataclass(frozen=True)
class Importance:
    """Every column's importance, the most needed first.

    `rows` of the window were scored, on which the model has `val_auc`. `production` is the version
    that it is compared with.
    """

    window: str
    rows: int
    shuffles: int
    val_auc: float
    production: int | None
    columns: tuple[ColumnImportance, ...]


@dataclass(frozen=True)
class Compared:
    """Production, asked about the same rows; `columns` are those that it has."""

    version: int
    predict: Predict
    columns: Collection[str]


def measure_importance(
    frame: pd.DataFrame,
    labels: Labels,
    columns: Collection[str],
    predict: Predict,
    production: Compared | None,
    *,
    window: str,
    seed: int,
) -> Importance | None:
    """The importance of the `columns`, and its change against production on the same rows.

    `predict` answers prepared rows of the `frame`. Of many rows or columns a part is scored, at
    most 1,000 rows. None when a class has no row.
    """
    draw = np.random.default_rng(seed)
    rows = _choose_rows(labels, len(columns), draw)
    frame, labels = frame.iloc[rows].reset_index(drop=True), labels[rows]
    val_auc = measure_auc(labels, predict(frame))
    if val_auc is None:
        return None
    orders = np.array([draw.permutation(len(rows)) for _ in range(SHUFFLES)])
    ours = _measure_losses(predict, frame, labels, columns, orders)
    known = [] if production is None else [name for name in columns if name in production.columns]
    theirs = {}
    if production is not None:
        theirs = _measure_losses(production.predict, frame, labels, known, orders)
    found = [_describe(name, ours[name], theirs.get(name)) for name in columns]
    return Importance(
        window,
        len(rows),
        SHUFFLES,
        val_auc,
        None if production is None else production.version,
        tuple(sorted(found, key=lambda column: -column.loss)),
    )


def tell_importance(column: ColumnImportance, compared: bool) -> tuple[str, ...]:
    """The name and the numbers of a column as people read them, with its change if `compared`."""
    told = (column.column, f"{column.loss:+.4f} ± {column.error:.4f}")
    if not compared:
        return told
    if column.production_loss is None or column.change is None or column.change_error is None:
        return (*told, "has no such column", "unknown")
    change = f"{column.change:+.4f} ± {column.change_error:.4f}"
    return (*told, f"{column.production_loss:+.4f}", change)


def _choose_rows(labels: Labels, columns: int, draw: np.random.Generator) -> NDArray[np.intp]:
    """A random part of the rows, with each class in its share."""
    most = min(_MOST_ROWS, max(_FEWEST_ROWS, _MOST_VALUES // max(columns, 1)))
    if len(labels) <= most:
        return np.arange(len(labels))
    mixed = draw.permutation(len(labels))
    by_class = mixed[np.argsort(labels[mixed], kind="stable")]
    return np.sort(by_class[np.linspace(0, len(labels) - 1, most).astype(int)])


def _measure_losses(
    predict: Predict,
    frame: pd.DataFrame,
    labels: Labels,
    columns: Collection[str],
    orders: NDArray[np.integer],
) -> dict[str, NDArray[np.float64]]:
    """The AUC lost in each shuffle, by column."""
    whole = measure_auc(labels, predict(frame))
    assert whole is not None  # the caller has rows of every class
    copies = pd.concat([frame] * len(orders), ignore_index=True)
    losses = {}
    for name in columns:
        values = frame[name].to_numpy()
        # One call for all shuffles: a call has a price of its own.
        answers = predict(copies.assign(**{name: values[orders.ravel()]}))
        parts = np.split(answers, len(orders))
        losses[name] = np.array([whole - (measure_auc(labels, part) or 0.0) for part in parts])
    return losses


def _describe(
    column: str, ours: NDArray[np.float64], theirs: NDArray[np.float64] | None
) -> ColumnImportance:
    described = ColumnImportance(column, *_mean_and_error(ours))
    if theirs is None:
        return described
    change, change_error = _mean_and_error(ours - theirs)
    return ColumnImportance(
        column, described.loss, described.error, float(theirs.mean()), change, change_error
    )


def _mean_and_error(losses: NDArray[np.float64]) -> tuple[float, float]:
    return float(losses.mean()), float(losses.std(ddof=1) / np.sqrt(len(losses)))
