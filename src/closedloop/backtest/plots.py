"""How the policies did over time, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from closedloop.backtest.figures import PolicyFigures, Round
from closedloop.metrics.plots import AS_WRITTEN


def draw_policies(
    figures: Sequence[PolicyFigures],
    rounds: Mapping[str, Sequence[Round]],
    best: Sequence[Round],
    measure: str = "AUC",
) -> bytes:
    """The measure over time, what was lost so far against `best`, and the cost of each policy.

    One PNG.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(AS_WRITTEN):
        figure = Figure(figsize=(12, 13), layout="tight")
        over_time, behind, cost = figure.subplots(3, 1, height_ratios=[3, 2, 2])
        for number, policy in enumerate(figures):
            name, colour = policy.policy, f"C{number}"
            _draw_policy(over_time, behind, rounds[name], best, name, colour)
            cost.scatter(policy.trainings, policy.mean_auc, color=colour, s=60)
            cost.annotate(
                name,
                (policy.trainings, policy.mean_auc),
                xytext=(6, 4),
                textcoords="offset points",
                fontsize=9,
            )
        names = [entry.next_window for entry in best]
        for axes in (over_time, behind):
            axes.set_xticks(
                range(len(names)),
                names,
                rotation=60 if max(map(len, names), default=0) > 3 else 0,
                fontsize=8,
            )
        over_time.set(
            title=f"{measure} on the next window "
            "(filled: promoted, hollow: not promoted, cross: rolled back)",
            ylabel=measure,
        )
        over_time.legend(fontsize=8)
        behind.axhline(0, color="grey", linewidth=0.8)
        behind.set(
            title=f"{measure} lost so far against the best fixed policy (below 0: gained)",
            xlabel="window",
            ylabel=f"sum of {measure}",
        )
        cost.set(
            title=f"mean {measure} and number of trainings",
            xlabel="trainings",
            ylabel=f"mean {measure}",
        )
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=90)
    return content.getvalue()


def _draw_policy(
    over_time: Any,
    behind: Any,
    rounds: Sequence[Round],
    best: Sequence[Round],
    name: str,
    colour: str,
) -> None:
    aucs = np.array([np.nan if entry.next_auc is None else entry.next_auc for entry in rounds])
    bars = np.array([np.nan if entry.next_auc is None else entry.next_auc for entry in best])
    over_time.plot(aucs, color=colour, label=name, linewidth=1.2)
    behind.plot(np.nancumsum(bars - aucs), color=colour, linewidth=1.2)
    marks = [
        ("o", colour, [entry.promoted for entry in rounds]),
        ("x", colour, [entry.rolled_back for entry in rounds]),
        ("o", "none", [entry.candidate is not None and not entry.promoted for entry in rounds]),
    ]
    for sign, face, marked in marks:
        places = np.flatnonzero(marked)
        edge = {} if sign == "x" else {"edgecolors": colour}
        over_time.scatter(places, aucs[places], marker=sign, c=face, s=30, zorder=3, **edge)
