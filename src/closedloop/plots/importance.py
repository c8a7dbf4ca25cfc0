"""What a candidate needs: the AUC that shuffling a column costs."""

from __future__ import annotations

import numpy as np

from closedloop.metrics.importance import Importance
from closedloop.plots.style import ACCENT, INK, SECOND, SOFT, Picture, drawing, shorten


def draw_importance(importance: Importance, most: int = 20) -> Picture:
    """A bar for each of the most needed columns, with its standard error; production as dots."""
    shown = importance.columns[:most][::-1]
    places = np.arange(len(shown))
    with drawing(8.5, 1.7 + 0.28 * len(shown)) as sheet:
        axes = sheet.figure.subplots()
        axes.barh(
            places,
            [column.loss for column in shown],
            xerr=[column.error for column in shown],
            color=ACCENT,
            height=0.62,
            error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 2},
        )
        if importance.production is not None:
            losses = [column.production_loss for column in shown]
            axes.plot(
                [np.nan if loss is None else loss for loss in losses],
                places,
                "o",
                color=SECOND,
                markeredgecolor="white",
                markersize=7,
                zorder=3,
            )
        axes.axvline(0, color=SOFT, linewidth=0.8)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_yticks(places, [shorten(column.column, 40) for column in shown], color=INK)
        axes.set_xlabel("AUC lost when the column is shuffled")
        axes.set_title(f"What the model needs, on {shorten(importance.window, 40)}", pad=20)
        _name(axes, "bars: this version, with its standard error", ACCENT, 0)
        if importance.production is not None:
            _name(axes, f"dots: version {importance.production}", SECOND, 0.62)
    return sheet.picture


def _name(axes: object, text: str, colour: str, x: float) -> None:
    axes.annotate(  # type: ignore[attr-defined]
        text,
        (x, 1),
        xytext=(0, 5),
        xycoords="axes fraction",
        textcoords="offset points",
        color=colour,
        fontsize=9,
    )
