"""How policies did over time, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from closedloop.backtest.figures import Figures, Round


def draw_policies(
    figures: Sequence[Figures], rounds: Mapping[str, Sequence[Round]], best: Sequence[Round]
) -> bytes:
    """AUC over time with retrainings and promotions, what each policy fell behind `best` so far,
    and what it cost, as one PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 13), layout="tight")
    over_time, behind, cost = figure.subplots(3, 1, height_ratios=[3, 2, 2])
    for number, one in enumerate(figures):
        _draw_policy(over_time, behind, rounds[one.policy], best, one.policy, f"C{number}")
        cost.scatter(one.trainings, one.mean_auc, color=f"C{number}", s=60)
        cost.annotate(
            one.policy,
            (one.trainings, one.mean_auc),
            xytext=(6, 4),
            textcoords="offset points",
            fontsize=9,
        )
    names = [one.next_window for one in best]
    for axes in (over_time, behind):
        axes.set_xticks(
            range(len(names)),
            names,
            rotation=60 if max(map(len, names), default=0) > 3 else 0,
            fontsize=8,
        )
    over_time.set(
        title="AUC on the next window (filled: promoted, hollow: trained and not promoted, cross: rolled back)",
        ylabel="AUC",
    )
    over_time.legend(fontsize=8)
    behind.axhline(0, color="grey", linewidth=0.8)
    behind.set(
        title="AUC lost so far against the best fixed policy (below 0: won)",
        xlabel="window",
        ylabel="sum of AUC",
    )
    cost.set(title="what was gained for how many trainings", xlabel="trainings", ylabel="mean AUC")
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
    aucs = np.array([np.nan if one.next_auc is None else one.next_auc for one in rounds])
    bars = np.array([np.nan if one.next_auc is None else one.next_auc for one in best])
    over_time.plot(aucs, color=colour, label=name, linewidth=1.2)
    behind.plot(np.nancumsum(bars - aucs), color=colour, linewidth=1.2)
    marks = [
        ("o", colour, [one.promoted for one in rounds]),
        ("x", colour, [one.rolled_back for one in rounds]),
        ("o", "none", [one.candidate is not None and not one.promoted for one in rounds]),
    ]
    for sign, face, those in marks:
        places = np.flatnonzero(those)
        edge = {} if sign == "x" else {"edgecolors": colour}
        over_time.scatter(places, aucs[places], marker=sign, c=face, s=30, zorder=3, **edge)
