"""How a candidate did on the evaluation window, and what it needs, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from closedloop.decisions.deciding_measure import Measure
from closedloop.decisions.evidence import Scores
from closedloop.metrics.importance import Importance

# Names are text, also with $ in them, which else would be a formula.
AS_WRITTEN = {"text.parse_math": False}


def draw_scores(
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: tuple[str, ...],
    scores: Scores,
    title: str,
) -> bytes:
    """ROC curves, calibration and the confusion matrix side by side, as one PNG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(AS_WRITTEN):
        figure = Figure(figsize=(12, 4), layout="tight")
        curves, calibration, confusion = figure.subplots(1, 3)
        figure.suptitle(f"{title} on {scores.window}, {scores.rows} rows", fontsize=10)
        _draw_roc(curves, labels, probabilities, classes)
        _draw_calibration(calibration, labels, probabilities, classes)
        if (error := scores.calibration_error) is not None:
            calibration.set_title(f"calibration, off by {error:.3f} on average")
        _draw_confusion(confusion, scores.confusion, classes)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=80)
    return content.getvalue()


def draw_importance(importance: Importance, most: int = 20) -> bytes:
    """The AUC that shuffling costs in each of the most needed columns, as a PNG of bars."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    shown = importance.columns[:most][::-1]
    places = np.arange(len(shown))
    with rc_context(AS_WRITTEN):
        figure = Figure(figsize=(8, 1.5 + 0.3 * len(shown)), layout="tight")
        axes = figure.subplots()
        axes.barh(
            places,
            [column.loss for column in shown],
            xerr=[column.error for column in shown],
            label="this version",
        )
        if importance.production is not None:
            axes.plot(
                [np.nan if (loss := column.production_loss) is None else loss for column in shown],
                places,
                "o",
                color="orange",
                label=f"version {importance.production}",
            )
            axes.legend(fontsize=8, loc="lower right")
        axes.set(
            title=f"AUC lost when a column is shuffled, {importance.window}",
            yticks=places,
            yticklabels=[column.column[:40] for column in shown],
        )
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=80)
    return content.getvalue()


def draw_search(scores: Sequence[float | None], measure: Measure) -> bytes:
    """The score of each trial and the best so far, as PNG; None for a trial that failed."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    known = np.array([np.nan if score is None else score for score in scores])
    best = np.fmax.accumulate(known)
    with rc_context(AS_WRITTEN):
        figure = Figure(figsize=(8, 4), layout="tight")
        axes = figure.subplots()
        places = np.arange(1, len(known) + 1)
        axes.plot(places, [measure.turn(score) for score in known], "o", label="trial")
        axes.step(places, [measure.turn(score) for score in best], where="post", label="best")
        axes.set(xlabel="trial", ylabel=f"mean {measure.words} over the folds")
        axes.legend(fontsize=8)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=80)
    return content.getvalue()


def _shown(classes: tuple[str, ...]) -> range:
    """Two classes need only one curve."""
    return range(1, 2) if len(classes) == 2 else range(len(classes))


def _draw_roc(
    axes: Any, labels: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...]
) -> None:
    for number in _shown(classes):
        order = np.argsort(-probabilities[:, number], kind="stable")
        hits = (labels[order] == number).astype(float)
        true, false = np.cumsum(hits), np.cumsum(1 - hits)
        axes.plot(false / max(false[-1], 1), true / max(true[-1], 1), label=classes[number])
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    axes.set(title="ROC", xlabel="false positive rate", ylabel="true positive rate")
    axes.legend(fontsize=8)


def _draw_calibration(
    axes: Any, labels: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...]
) -> None:
    for number in _shown(classes):
        predicted = probabilities[:, number]
        edges = np.unique(np.quantile(predicted, np.linspace(0, 1, 11)))
        bin_of = np.clip(
            np.searchsorted(edges, predicted, side="right") - 1, 0, max(len(edges) - 2, 0)
        )
        bins = [bin_of == number_of_bin for number_of_bin in np.unique(bin_of)]
        axes.plot(
            [predicted[rows].mean() for rows in bins],
            [(labels[rows] == number).mean() for rows in bins],
            marker="o",
            label=classes[number],
        )
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    axes.set(title="calibration", xlabel="predicted probability", ylabel="observed share")
    axes.legend(fontsize=8)


def _draw_confusion(
    axes: Any, confusion: tuple[tuple[int, ...], ...], classes: tuple[str, ...]
) -> None:
    counts, ticks = np.asarray(confusion), range(len(classes))
    axes.imshow(counts, cmap="Blues")
    for row in ticks:
        for column in ticks:
            axes.text(
                column, row, str(counts[row, column]), ha="center", va="center", color="black"
            )
    axes.set(
        title="confusion",
        xticks=ticks,
        yticks=ticks,
        xticklabels=classes,
        yticklabels=classes,
        xlabel="predicted",
        ylabel="actual",
    )
