"""How a candidate did on its evaluation window: ROC curves, calibration, confusion matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from closedloop.decisions.evidence import Scores
from closedloop.plots.style import (
    ACCENT,
    OTHERS,
    SERIES,
    SOFT,
    Picture,
    choose_ink,
    drawing,
    make_shades,
    shorten,
)

_BINS = 10
_FEW_CLASSES = len(SERIES)
_NORMAL = 1.96  # both sides together err in 5 % of the cases


def draw_scores(
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: tuple[str, ...],
    scores: Scores,
    title: str,
) -> Picture:
    """The three side by side; a band shows how sure the observed shares of the calibration are."""
    with drawing(12.5, 4.4) as sheet:
        curves, calibration, confusion = sheet.figure.subplots(1, 3)
        sheet.figure.suptitle(
            f"{shorten(title, 60)} on {shorten(scores.window, 40)}, {scores.rows:,} rows",
            x=0.01,
            ha="left",
            fontsize=11,
        )
        _draw_roc(curves, labels, probabilities, classes)
        _draw_calibration(calibration, labels, probabilities, classes)
        if (error := scores.calibration_error) is not None:
            calibration.set_title(f"Calibration, off by {error:.3f} on average")
        _draw_confusion(confusion, scores.confusion, classes)
    return sheet.picture


def _shown(classes: tuple[str, ...]) -> range:
    """Two classes need only one curve."""
    return range(1, 2) if len(classes) == 2 else range(len(classes))


def _colour(number: int, classes: tuple[str, ...]) -> str:
    """With more classes than there are colours, all curves are grey."""
    if len(classes) == 2:
        return ACCENT
    return SERIES[number] if len(classes) <= _FEW_CLASSES else OTHERS


def _draw_roc(
    axes: Any, labels: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...]
) -> None:
    axes.plot([0, 1], [0, 1], color=OTHERS, linewidth=0.8, linestyle="--")
    axes.annotate("chance", (0.57, 0.53), va="top", color=SOFT, fontsize=8)
    for place, number in enumerate(_shown(classes)):
        order = np.argsort(-probabilities[:, number], kind="stable")
        hits = (labels[order] == number).astype(float)
        true, false = np.cumsum(hits), np.cumsum(1 - hits)
        x, y = false / max(false[-1], 1), true / max(true[-1], 1)
        colour = _colour(number, classes)
        axes.plot(x, y, color=colour, linewidth=1.8 if len(classes) <= _FEW_CLASSES else 0.9)
        if len(classes) <= _FEW_CLASSES:
            # In the empty corner, in the order in which the curves pass it.
            _name_in_corner(axes, classes[number], place, colour)
    if len(classes) > _FEW_CLASSES:
        _name_in_corner(axes, f"a curve for each of {len(classes)}", 0, SOFT)
    axes.set(title="ROC", xlabel="false positive rate", ylabel="true positive rate")


def _name_in_corner(axes: Any, name: str, place: int, colour: str) -> None:
    axes.annotate(
        shorten(name, 24),
        (0.97, 0.05 + 0.075 * place),
        ha="right",
        color=colour,
        fontweight="bold",
        fontsize=9,
    )


def _draw_calibration(
    axes: Any, labels: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...]
) -> None:
    axes.plot([0, 1], [0, 1], color=OTHERS, linewidth=0.8, linestyle="--")
    for place, number in enumerate(_shown(classes)):
        predicted = probabilities[:, number]
        edges = np.unique(np.quantile(predicted, np.linspace(0, 1, _BINS + 1)))
        bin_of = np.clip(
            np.searchsorted(edges, predicted, side="right") - 1, 0, max(len(edges) - 2, 0)
        )
        bins = [bin_of == number_of_bin for number_of_bin in np.unique(bin_of)]
        middles = [predicted[rows].mean() for rows in bins]
        observed = [(labels[rows] == number).mean() for rows in bins]
        bounds = [
            _bound_share(share, int(rows.sum())) for share, rows in zip(observed, bins, strict=True)
        ]
        colour = _colour(number, classes)
        few = len(classes) <= _FEW_CLASSES
        axes.plot(
            middles,
            observed,
            color=colour,
            marker="o",
            markersize=4 if few else 2,
            linewidth=1.6 if few else 0.8,
        )
        if len(_shown(classes)) <= 3:
            lower, upper = zip(*bounds, strict=True)
            axes.fill_between(middles, lower, upper, color=colour, alpha=0.14, linewidth=0)
        if few:
            _name_in_corner(axes, classes[number], place, colour)
    if len(_shown(classes)) <= 3:
        axes.annotate("band: 95 % interval", (0.03, 0.95), va="top", color=SOFT, fontsize=8)
    axes.set(title="Calibration", xlabel="predicted probability", ylabel="observed share")


def _bound_share(share: float, rows: int) -> tuple[float, float]:
    """Wilson's interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22)."""
    square = _NORMAL**2
    middle = (share + square / (2 * rows)) / (1 + square / rows)
    half = _NORMAL * math.sqrt(share * (1 - share) / rows + square / (4 * rows**2))
    half /= 1 + square / rows
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _draw_confusion(
    axes: Any, confusion: tuple[tuple[int, ...], ...], classes: tuple[str, ...]
) -> None:
    """Counts; the colour is the share of the actual class, which a rare one has, too."""
    counts, ticks, shades = np.asarray(confusion), range(len(classes)), make_shades()
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    # Cells that stay sharp at any size, the first class on top.
    axes.pcolormesh(shares, cmap=shades, vmin=0, vmax=1, edgecolors="white", linewidth=1)
    axes.invert_yaxis()
    axes.set_aspect("auto" if len(classes) < 3 else "equal")
    small = len(classes) > 8
    if len(classes) <= 20:
        for row in ticks:
            for column in ticks:
                share = shares[row, column]
                told = f"{counts[row, column]:,}" + ("" if small else f"\n{share:.0%}")
                axes.text(
                    column + 0.5,
                    row + 0.5,
                    told,
                    ha="center",
                    va="center",
                    color=choose_ink(shades(float(share))),
                    fontsize=6 if small else 9,
                )
    names = [shorten(name, 16) for name in classes]
    turned = max(map(len, names)) * len(names) > 36
    middles = [number + 0.5 for number in ticks]
    axes.set_xticks(
        middles,
        names,
        rotation=40 if turned else 0,
        ha="right" if turned else "center",
        rotation_mode="anchor",
        fontsize=6 if small else 9,
    )
    axes.set_yticks(middles, names, fontsize=6 if small else 9)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.set(title="Confusion, share of each actual class", xlabel="predicted", ylabel="actual")
