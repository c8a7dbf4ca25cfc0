"""How a search went: the score of each trial and the best so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from closedloop.decisions.deciding_measure import Measure
from closedloop.plots.style import ACCENT, OTHERS, SOFT, Picture, drawing, label_ends


def draw_search(scores: Sequence[float | None], measure: Measure) -> Picture:
    """A dot for each trial, a line for the best so far; None for a trial that failed."""
    known = np.array([np.nan if score is None else score for score in scores], dtype=float)
    best = [measure.turn(score) for score in np.fmax.accumulate(known)]
    places = np.arange(1, len(known) + 1)
    with drawing(8.5, 4.2) as sheet:
        axes = sheet.figure.subplots()
        trials = [measure.turn(score) for score in known]
        axes.plot(places, trials, "o", color=OTHERS, markersize=5)
        axes.step(places, best, where="post", color=ACCENT, linewidth=1.8)
        axes.set(
            title=f"Best {measure.words} so far, and each trial",
            xlabel="trial",
            ylabel=f"mean {measure.words} over the folds",
        )
        axes.xaxis.get_major_locator().set_params(integer=True)
        if len(best) and np.isfinite(best[-1]):
            name = f"best {best[-1]:.4f}"
            label_ends(axes, [(name, float(places[-1]), float(best[-1]), ACCENT, True)])
        failed = int(np.isnan(known).sum())
        if failed:
            axes.annotate(
                f"{failed} failed",
                (1, 0),
                xytext=(-4, 4),
                xycoords="axes fraction",
                textcoords="offset points",
                ha="right",
                color=SOFT,
                fontsize=8,
            )
    return sheet.picture
