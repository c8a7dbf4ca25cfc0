"""How the policies did over time: one is highlighted, the others are grey with their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from closedloop.backtest.figures import PolicyFigures, Round
from closedloop.plots.style import (
    ACCENT,
    GROUND,
    OTHERS,
    SECOND,
    SOFT,
    Picture,
    drawing,
    label_ends,
)

_MOST_TICKS = 24


def draw_policies(
    figures: Sequence[PolicyFigures],
    rounds: Mapping[str, Sequence[Round]],
    best: Sequence[Round],
    measure: str = "AUC",
    highlighted: str = "loop",
) -> Picture:
    """The measure over time, what was lost so far against `best`, and the cost of each policy.

    The first policy is highlighted when there is none of the name `highlighted`.
    """
    names = [policy.policy for policy in figures]
    first = highlighted if highlighted in names else names[0]
    # Grey lines first: the highlighted one lies over them.
    order = [*(name for name in names if name != first), first]
    with drawing(11.5, 12.5) as sheet:
        over_time, behind, cost = sheet.figure.subplots(3, 1, height_ratios=[3, 2.4, 2])
        _draw_over_time(over_time, rounds, order, first, measure)
        _draw_behind(behind, rounds, best, order, first, measure)
        _draw_cost(cost, figures, first, measure)
        windows = [entry.next_window for entry in best]
        for axes in (over_time, behind):
            _name_windows(axes, windows)
            axes.set_xlim(-0.5, max(len(windows) - 1, 0.5))  # names of lines stand behind it
    return sheet.picture


def _draw_over_time(
    axes: Any,
    rounds: Mapping[str, Sequence[Round]],
    order: Sequence[str],
    first: str,
    measure: str,
) -> None:
    ends = []
    for name in order:
        values = _values(rounds[name])
        colour, width = _look(name, first)
        axes.plot(values, color=colour, linewidth=width)
        if (end := _last_known(values)) is not None:
            ends.append((name, *end, _ink(name, first), name == first))
    _mark(axes, rounds[first])
    label_ends(axes, ends)
    axes.set(ylabel=measure)
    axes.set_title(f"{measure} on the next window", pad=20)
    for x, text, colour in (
        (0, f"of {first}: ● promoted", ACCENT),
        (0.24, "○ not promoted", ACCENT),
        (0.4, "✖ rolled back", SECOND),
    ):
        axes.annotate(
            text,
            (x, 1),
            xytext=(0, 5),
            xycoords="axes fraction",
            textcoords="offset points",
            color=colour,
        )


def _draw_behind(
    axes: Any,
    rounds: Mapping[str, Sequence[Round]],
    best: Sequence[Round],
    order: Sequence[str],
    first: str,
    measure: str,
) -> None:
    bars, ends = _values(best), []
    for name in order:
        lost = np.nancumsum(bars - _values(rounds[name]))
        colour, width = _look(name, first)
        axes.plot(lost, color=colour, linewidth=width)
        if len(lost):
            end = float(len(lost) - 1), float(lost[-1])
            ends.append((name, *end, _ink(name, first), name == first))
    axes.axhline(0, color=SOFT, linewidth=0.8, linestyle="--")
    label_ends(axes, ends, gap=0.06)
    axes.set(
        title=f"{measure} lost so far against the best fixed policy (below 0: gained)",
        xlabel="window",
        ylabel=f"sum of {measure}",
    )


def _draw_cost(axes: Any, figures: Sequence[PolicyFigures], first: str, measure: str) -> None:
    near = 0.06 * max((policy.trainings for policy in figures), default=0)
    groups: list[list[tuple[str, float, float, str, bool]]] = []
    for policy in sorted(figures, key=lambda policy: policy.trainings):
        if policy.mean_auc is None:
            continue
        name, x, colour = policy.policy, float(policy.trainings), _look(policy.policy, first)[0]
        axes.scatter(x, policy.mean_auc, color=colour, s=60, zorder=3)
        if not groups or x - groups[-1][-1][1] > near:
            groups.append([])
        groups[-1].append((name, x, policy.mean_auc, _ink(name, first), name == first))
    axes.margins(0.08, 0.2)
    for group in groups:
        label_ends(axes, group, gap=0.1)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(
        title=f"What it costs: mean {measure} and number of trainings",
        xlabel="trainings",
        ylabel=f"mean {measure}",
    )


def _look(name: str, first: str) -> tuple[str, float]:
    """Colour and width of a policy's line."""
    return (ACCENT, 2.2) if name == first else (OTHERS, 1.0)


def _ink(name: str, first: str) -> str:
    """The colour of a policy's name: the grey of the lines is too light for text."""
    return ACCENT if name == first else SOFT


def _values(rounds: Sequence[Round]) -> Any:
    return np.array(
        [np.nan if entry.next_auc is None else entry.next_auc for entry in rounds], dtype=float
    )


def _last_known(values: Any) -> tuple[float, float] | None:
    known = np.flatnonzero(np.isfinite(values))
    return (float(known[-1]), float(values[known[-1]])) if len(known) else None


def _mark(axes: Any, rounds: Sequence[Round]) -> None:
    values = _values(rounds)
    for sign, face, edge, marked in (
        ("o", ACCENT, ACCENT, [entry.promoted for entry in rounds]),
        (
            "o",
            GROUND,
            ACCENT,
            [entry.candidate is not None and not entry.promoted for entry in rounds],
        ),
        ("X", SECOND, GROUND, [entry.rolled_back for entry in rounds]),
    ):
        places = np.flatnonzero(marked)
        size = 70 if sign == "X" else 32
        axes.scatter(places, values[places], marker=sign, c=face, edgecolors=edge, s=size, zorder=4)


def _name_windows(axes: Any, names: Sequence[str]) -> None:
    """As many names as can be read, at equal distances."""
    every = max(1, -(-len(names) // _MOST_TICKS))
    places = range(0, len(names), every)
    long = max(map(len, names), default=0) > 3
    axes.set_xticks(
        places,
        [names[place][-24:] for place in places],
        rotation=60 if long else 0,
        ha="right" if long else "center",
        rotation_mode="anchor",
        fontsize=8,
    )
