"""Candidate against production on the same labelled rows: scores, delta, and every slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.decisions.evidence import Comparison, SliceDelta
from closedloop.decisions.policy import PromotionPolicy
from closedloop.metrics.auc import Influence, Labels, Probabilities, measure_delta
from closedloop.metrics.clustering import count_rarest
from closedloop.metrics.deciding_measure import influence_of
from closedloop.metrics.scores import score_model
from closedloop.use_case.contract import Slice
from closedloop.windows.groups import Groups

_USUAL = PromotionPolicy()


def compare(
    *,
    recipe: str,
    window: str,
    frame: pd.DataFrame,
    labels: Labels,
    classes: Sequence[str],
    slices: Sequence[Slice],
    candidate: Probabilities,
    production: Probabilities | None,
    baseline_auc: float,
    held_out: bool,
    same_recipe: bool,
    confidence: float,
    history: str = "all",
    rules: PromotionPolicy = _USUAL,
    threshold: float | None = None,
    production_threshold: float | None = None,
    groups: Groups | None = None,
    judged_with: tuple[str, ...] = (),
) -> Comparison:
    """One candidate and production on the same rows; without production every delta is None.

    `rules` say in which measure they are compared. Each model answers with its own threshold.
    `groups` are the numbers of the rows' groups, None for independent rows.
    """
    influence = influence_of(rules)
    return Comparison(
        recipe=recipe,
        window=window,
        candidate=score_model(labels, candidate, classes, window, rules, threshold, groups),
        baseline_auc=baseline_auc,
        held_out=held_out,
        same_recipe=same_recipe,
        production=None
        if production is None
        else score_model(labels, production, classes, window, rules, production_threshold, groups),
        delta=None
        if production is None
        else measure_delta(labels, candidate, production, confidence, influence, groups),
        slices=measure_slices(
            frame, slices, labels, candidate, production, confidence, influence, groups
        ),
        history=history,
        threshold=threshold,
        judged_with=judged_with,
    )


def slice_rows(frame: pd.DataFrame, part: Slice) -> NDArray[np.bool_]:
    """Which rows of a prepared frame are in the slice, shape (n,); a null is in no numeric one."""
    column = frame[part.column]
    if part.values:
        return column.isin(part.values).to_numpy(dtype=bool)
    value = column.to_numpy(dtype=float)
    low = -np.inf if part.minimum is None else part.minimum
    high = np.inf if part.maximum is None else part.maximum
    return np.asarray((value >= low) & (value < high))


def measure_slices(
    frame: pd.DataFrame,
    slices: Sequence[Slice],
    labels: Labels,
    candidate: Probabilities,
    production: Probabilities | None,
    confidence: float,
    influence: Influence | None = None,
    groups: Groups | None = None,
) -> tuple[SliceDelta, ...]:
    """Candidate minus production on every slice; without production every delta is None.

    The confidence is 1 - (1 - confidence) / m (Bonferroni). m is the number of protected slices for
    a protected one, and of the others for the rest: slices that only inform must not make a gate
    more lenient.

    Why correct: each slice is one more chance to look harmed by luck. At 95 % a harmless candidate
    fails one slice in 2.5 % of the comparisons, but one of ten in up to 22 %, and a gate that
    raises false alarms gets switched off. The price is that the smallest harm that is likely to be
    seen grows by about a third with ten slices: protect the few that matter. Why not Holm: one
    harmed slice closes the gate, and Holm finds a first one exactly when Bonferroni does, but has
    no interval to show.
    """
    found = []
    for part in slices:
        family = sum(other.protected == part.protected for other in slices)
        rows = slice_rows(frame, part)
        delta, there = None, None if groups is None else groups[rows]
        if production is not None:
            delta = measure_delta(
                labels[rows],
                candidate[rows],
                production[rows],
                1 - (1 - confidence) / family,
                influence,
                there,
            )
        classes = candidate.shape[1]
        rarest = count_rarest(labels[rows], classes)
        in_groups = None if there is None else count_rarest(labels[rows], classes, there)
        found.append(
            SliceDelta(part.name, part.protected, int(rows.sum()), rarest, delta, in_groups)
        )
    return tuple(found)
