"""Pictures of how a candidate did on the evaluation window, as PNG bytes. Matplotlib's only door."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np

from closedloop.evidence import Comparison


def draw_scores(labels: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...], comparison: Comparison) -> dict[str, bytes]:
    """ROC curves, calibration and the confusion matrix: file name -> PNG."""
    return {
        "plots/roc.png": _draw_roc(labels, probabilities, classes),
        "plots/calibration.png": _draw_calibration(labels, probabilities, classes),
        "plots/confusion.png": _draw_confusion(comparison.candidate.confusion, classes),
    }


def _png(draw: Callable[[Any], None], title: str) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    draw(axes)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=90)
    return content.getvalue()


def _draw_roc(labels: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...]) -> bytes:
    shown = range(1, 2) if len(classes) == 2 else range(len(classes))

    def draw(axes: Any) -> None:
        for number in shown:
            order = np.argsort(-probabilities[:, number], kind="stable")
            hits = (labels[order] == number).astype(float)
            true, false = np.cumsum(hits), np.cumsum(1 - hits)
            axes.plot(false / max(false[-1], 1), true / max(true[-1], 1), label=classes[number])
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
        axes.legend(fontsize=8)

    return _png(draw, "ROC on the evaluation window")


def _draw_calibration(labels: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...]) -> bytes:
    shown = range(1, 2) if len(classes) == 2 else range(len(classes))

    def draw(axes: Any) -> None:
        for number in shown:
            said = probabilities[:, number]
            edges = np.unique(np.quantile(said, np.linspace(0, 1, 11)))
            place = np.clip(np.searchsorted(edges, said, side="right") - 1, 0, max(len(edges) - 2, 0))
            parts = [place == one for one in range(max(len(edges) - 1, 1)) if (place == one).any()]
            axes.plot([said[part].mean() for part in parts], [(labels[part] == number).mean() for part in parts],
                      marker="o", label=classes[number])  # fmt: skip
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
        axes.set(xlabel="probability said", ylabel="share that happened")
        axes.legend(fontsize=8)

    return _png(draw, "Calibration on the evaluation window")


def _draw_confusion(confusion: tuple[tuple[int, ...], ...], classes: tuple[str, ...]) -> bytes:
    def draw(axes: Any) -> None:
        counts = np.asarray(confusion)
        axes.imshow(counts, cmap="Blues")
        for row in range(len(classes)):
            for column in range(len(classes)):
                axes.text(column, row, str(counts[row, column]), ha="center", va="center", color="black")
        axes.set(xticks=range(len(classes)), yticks=range(len(classes)), xticklabels=classes, yticklabels=classes,
                 xlabel="predicted", ylabel="actual")  # fmt: skip

    return _png(draw, "Confusion on the evaluation window")
