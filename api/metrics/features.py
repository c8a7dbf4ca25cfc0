"""Metrics of inputs and outputs: distribution of scores, missing features, unseen categories.

Divide by the rows of `closedloop_predictions_total` for rates. Workers add up as in `service`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
from prometheus_client import Counter, Gauge, Histogram

from api.metrics.families import Families
from api.model.answer import Answered, LoadedModel
from api.model.live import Production
from api.rows.pack import MANY
from closedloop.use_case.contract import MISSING
from closedloop.windows.spelling import read_category

_BOUNDS = tuple(tenth / 10 for tenth in range(1, 11))
_FEW = 6  # values; NumPy pays off for more
_KEPT, _LONGEST_KEPT = 1_000, 100  # remembered categories of a feature; characters of each


class ScoreHistogram(Histogram):
    """A histogram that takes the values of many rows at once."""

    def observe_many(self, values: Sequence[float]) -> None:
        """The same as `observe` for each value."""
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
    """Counts features and scores of answered rows, and shows which model answers."""

    def __init__(self, families: Families, use_case: str, production: Production) -> None:
        self._production, self._use_case = production, use_case
        self._shown: LoadedModel | None = None
        self._counters: _ModelCounters | None = None
        self._scores = families.make(
            ScoreHistogram,
            "prediction_probability",
            "Probability of the class, once per answered row",
            ["class"],
            buckets=_BOUNDS,
        )
        self._missing = families.make(
            Counter, "feature_missing", "Answered rows in which the feature was null", ["feature"]
        )
        self._unseen = families.make(
            Counter,
            "feature_unseen",
            "Answered rows whose category is neither in the contract nor in the training rows",
            ["feature"],
        )
        # A Gauge, because an Info cannot be added up over workers.
        self._info = families.make(
            Gauge,
            "model_info",
            "1 for the model that answers, 0 for earlier ones; window is the last training window",
            ["version", "recipe", "window", "served_by"],
            multiprocess_mode="livemax",
        )

    def scores(self, label: str) -> ScoreHistogram:
        """The histogram of a class; like the counters, to be looked up once."""
        return self._scores.labels(self._use_case, label)

    def missing(self, feature: str) -> Counter:
        """The counter of rows in which a feature was null."""
        return self._missing.labels(self._use_case, feature)

    def unseen(self, feature: str) -> Counter:
        """The counter of rows with a category of a feature that nobody has seen."""
        return self._unseen.labels(self._use_case, feature)

    def count(self, answered: Answered) -> None:
        """Count the rows of one request, from any thread.

        It takes 3 to 6 microseconds for a single row of twenty features.
        """
        if self._counters is None or self._counters.model is not answered.model:
            self._counters = _ModelCounters(answered.model, self)
        self._counters.count(answered)

    def refresh(self) -> None:
        """Show the model that answers now."""
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
        self._info.labels(
            self._use_case,
            str(model.version),
            model.facts.recipe,
            window,
            model.scorer.served_by,
        ).set(value)


class _ModelCounters:
    """The counters of one model: per class and per feature."""

    def __init__(self, model: LoadedModel, metrics: FeatureMetrics) -> None:
        self.model = model
        self._scores = [(label, metrics.scores(label)) for label in model.facts.classes]
        self._numbers = [(name, metrics.missing(name)) for name in model.use_case.numeric]
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
        if rows.coded:
            for (_, category), coded in zip(self._categories, rows.coded, strict=True):
                for text, number in zip(coded.values, coded.count(), strict=True):
                    if number and text not in category.usual:
                        category.count(text, number)
            return
        for (_, category), texts in zip(self._categories, rows.text_columns, strict=False):
            for text in set(texts):
                if text not in category.usual:
                    category.count(text, texts.count(text))


class _Category:
    """Counts missing and unseen values of a feature; `usual` remembers values that are neither."""

    def __init__(self, model: LoadedModel, name: str, metrics: FeatureMetrics) -> None:
        self.usual: set[Any] = set()
        self._read = read_category(model.use_case.columns[name].allowed)
        self._seen, self._missing = find_seen(model, name), metrics.missing(name)
        self._unseen = None if self._seen is None else metrics.unseen(name)

    def count(self, value: Any, rows: int) -> None:
        text = self._read(value)
        if text == MISSING:
            self._missing.inc(rows)
        elif self._unseen is not None and self._seen is not None and text not in self._seen:
            self._unseen.inc(rows)
        elif len(self.usual) < _KEPT and len(value) <= _LONGEST_KEPT:
            self.usual.add(value)


def find_seen(model: LoadedModel, name: str) -> frozenset[str] | None:
    """The known categories of a feature: from the contract, else from the training rows.

    None when unknown: the model has no statistics, or they list only the most frequent categories.
    """
    if allowed := model.use_case.columns[name].allowed:
        return frozenset(allowed)
    statistics = model.facts.statistics.get(name) or {}
    shares, null_rate = statistics.get("shares"), statistics.get("null_rate")
    if shares is None or null_rate is None or sum(shares.values()) + null_rate < 1 - 1e-9:
        return None
    return frozenset(shares)
