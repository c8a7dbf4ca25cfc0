"""What was asked and answered, for Prometheus: the spread of the scores, and how often a feature
was missing or of an unseen category.

Divide by the rows of `closedloop_predictions_total` for rates. With several workers all of it adds
up as the other metrics do.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from api.rows.pack import MANY
from closedloop.use_case.contract import MISSING
from closedloop.windows.spelling import read_category

if TYPE_CHECKING:
    from api.model.answer import Answered, LoadedModel
    from api.model.live import Production

_BOUNDS = tuple(tenth / 10 for tenth in range(1, 11))
_FEW = 6  # values; for more of them NumPy is worth its start
_KEPT, _LONGEST_KEPT = 1_000, 100  # remembered categories of each feature, and their characters


class ScoreHistogram(Histogram):
    """A histogram that takes the values of many rows at once."""

    def observe_many(self, values: Sequence[float]) -> None:
        """As `observe` of each."""
        if len(values) <= _FEW:
            for value in values:
                self._sum.inc(value)
                self._buckets[bisect_left(self._upper_bounds, value)].inc(1)
            return
        numbers = np.asarray(values, dtype=np.float64)
        self._sum.inc(float(numbers.sum()))
        for place, rows in enumerate(
            np.bincount(np.searchsorted(self._upper_bounds, numbers)).tolist()
        ):
            if rows:
                self._buckets[place].inc(rows)


class FeatureMetrics:
    """Counts what a request asked and what it was answered; `refresh` says which model answers."""

    def __init__(self, registry: CollectorRegistry, production: Production) -> None:
        self._production = production
        self._shown: LoadedModel | None = None
        self._watched: _Watched | None = None
        self.scores = ScoreHistogram(
            "closedloop_prediction_probability",
            "Probability of each class, one for each answered row",
            ["class"],
            buckets=_BOUNDS,
            registry=registry,
        )
        self.missing = Counter(
            "closedloop_feature_missing",
            "Answered rows in which the feature was null",
            ["feature"],
            registry=registry,
        )
        self.unseen = Counter(
            "closedloop_feature_unseen",
            "Answered rows whose category the contract, or else the training rows, did not have",
            ["feature"],
            registry=registry,
        )
        # Not an Info, which several workers cannot join.
        self.info = Gauge(
            "closedloop_model_info",
            "1 for the model that answers, 0 for those that did; window is the last it was trained on",
            ["version", "recipe", "window", "served_by"],
            registry=registry,
            multiprocess_mode="livemax",
        )

    def count(self, answered: Answered) -> None:
        """Count the rows of one request: 3 to 6 microseconds for a single row of twenty features.
        Any thread may call it."""
        if self._watched is None or self._watched.model is not answered.model:
            self._watched = _Watched(answered.model, self)
        self._watched.count(answered)

    def refresh(self) -> None:
        """Read which model answers."""
        current = self._production.current
        if current is self._shown:
            return
        if self._shown is not None:
            self._show(self._shown, 0)
        if current is not None:
            self._show(current, 1)
        self._shown = current

    def _show(self, model: LoadedModel, value: int) -> None:
        window = model.facts.trained_windows[-1] if model.facts.trained_windows else ""
        self.info.labels(
            str(model.version), model.facts.recipe, window, model.scorer.served_by
        ).set(value)


class _Watched:
    """One model's classes and features, each with the counters that are its own."""

    def __init__(self, model: LoadedModel, metrics: FeatureMetrics) -> None:
        self.model = model
        self._scores = [(label, metrics.scores.labels(label)) for label in model.facts.classes]
        self._numbers = [(name, metrics.missing.labels(name)) for name in model.use_case.numeric]
        self._categories = [
            (name, _Category(model, name, metrics)) for name in model.use_case.categorical
        ]

    def count(self, answered: Answered) -> None:
        for (_, scores), shares in zip(self._scores, answered.shares, strict=True):
            scores.observe_many(shares)
        rows = answered.rows
        if len(rows) < MANY:
            nulls = [column.count(None) for column in rows.number_columns]
        else:
            nulls = np.isnan(answered.packed.numbers).sum(axis=0).tolist()
        for (_, missing), count in zip(self._numbers, nulls, strict=False):
            if count:
                missing.inc(count)
        for (_, category), texts in zip(self._categories, rows.text_columns, strict=False):
            for text in set(texts):
                if text not in category.usual:
                    category.count(text, texts.count(text))


class _Category:
    """Counts the values of one feature that are not `usual`: those are remembered ones, neither
    missing nor unseen."""

    def __init__(self, model: LoadedModel, name: str, metrics: FeatureMetrics) -> None:
        self.usual: set[Any] = set()
        self._read = read_category(model.use_case.columns[name].allowed)
        self._seen, self._missing = find_seen(model, name), metrics.missing.labels(name)
        self._unseen = None if self._seen is None else metrics.unseen.labels(name)

    def count(self, value: Any, rows: int) -> None:
        text = self._read(value)
        if text == MISSING:
            self._missing.inc(rows)
        elif self._unseen is not None and self._seen is not None and text not in self._seen:
            self._unseen.inc(rows)
        elif len(self.usual) < _KEPT and len(value) <= _LONGEST_KEPT:
            self.usual.add(value)


def find_seen(model: LoadedModel, name: str) -> frozenset[str] | None:
    """The categories that a feature may have: those of the contract, else those of the training
    rows.

    None where that is not known, because the model has no statistics or they list the commonest
    categories only.
    """
    if allowed := model.use_case.columns[name].allowed:
        return frozenset(allowed)
    statistics = model.facts.statistics.get(name) or {}
    shares, null_rate = statistics.get("shares"), statistics.get("null_rate")
    if shares is None or null_rate is None or sum(shares.values()) + null_rate < 1 - 1e-9:
        return None
    return frozenset(shares)
