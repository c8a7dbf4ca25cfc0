"""The totals of `make bench-loop` over several streams, as figures, tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from closedloop.backtest.figures import measure_share
from closedloop.backtest.run import Backtest

REAL_LOSS = 0.002  # AUC
HEADINGS = (
    "policy",
    "share",
    "trainings",
    "worst regret",
    "below static",
    "promoted",
    "harmful",
    "missed",
    "rejected",
    "over schedule",
    "at worst",
)
# Policies that train by the calendar.
SCHEDULES = ("static", "every-8", "every-4", "every-3", "every-2", "always")
_SUMMED = (
    "rounds",
    "trainings",
    "promotions",
    "rejected",
    "rollbacks",
    "harmful",
    "missed",
)


def measure_over_schedule(
    share: float, trainings: int, schedule: Sequence[tuple[int, float]]
) -> float:
    """What a policy's share is over that of a schedule with as many trainings.

    `schedule` has trainings and share of several schedules; between two of them the share grows
    evenly with the trainings, outside it stays. Of two with as many trainings the mean counts.
    """
    known: dict[int, list[float]] = {}
    for spent, reached in schedule:
        known.setdefault(spent, []).append(reached)
    spent = sorted(known)
    return share - float(np.interp(trainings, spent, [fmean(known[count]) for count in spent]))


def add_over_schedule(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The figures of a stream, each policy with its `over_schedule`; None where nothing is gained.

    Always-retraining has no share where it gains nothing, and no other policy has.
    """
    schedule = [(figures[name]["trainings"], figures[name]["share"]) for name in SCHEDULES]
    return {
        name: {
            **known,
            "over_schedule": None
            if known["share"] is None
            else measure_over_schedule(known["share"], known["trainings"], schedule),
        }
        for name, known in figures.items()
    }


def total(found: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The figures of several streams by policy: shares of summed gains, sums, and worst cases.

    `over_schedule` is the mean over the streams, each counted alike.
    """
    totals = {}
    for policy in found[0]:
        own, static, always = (
            [figures[name] for figures in found] for name in (policy, "static", "always")
        )
        gain, whole = (
            sum(a["mean_auc"] - b["mean_auc"] for a, b in zip(side, static, strict=True))
            for side in (own, always)
        )
        sums = {name: sum(figures[name] for figures in own) for name in _SUMMED}
        over = [over for figures in own if (over := figures["over_schedule"]) is not None]
        totals[policy] = {
            "share": measure_share(gain, whole),
            "trainings_share": sums["trainings"] / sums["rounds"],
            "worst_regret": max(figures["worst_regret"] for figures in own),
            "below_static": max(0.0, *(figures["below_static"] for figures in own)),
            "harmful_share": sums["harmful"] / sums["promotions"] if sums["promotions"] else None,
            "missed_share": sums["missed"] / sums["rounds"],
            "over_schedule": fmean(over) if over else None,
            "over_schedule_worst": min(over, default=None),
            **sums,
        }
    return totals


def total_faults(found: Sequence[Backtest]) -> dict[str, dict[str, Any]]:
    """What became of the faulty windows of several streams, by policy."""
    totals: dict[str, dict[str, Any]] = {}
    for policy in (cases.policy for cases in found[0].faults):
        cases = [
            case for backtest in found for case in backtest.fault_cases if case.policy == policy
        ]
        rounds = [lived for backtest in found for lived in backtest.rounds[policy]]
        quarantined = sum(
            len({window for lived in backtest.rounds[policy] for window in lived.quarantined})
            for backtest in found
        )
        totals[policy] = {
            "cases": len(cases),
            "shipped": sum(case.shipped for case in cases),
            "harmful": sum(case.harmful for case in cases),
            "harmful_share": sum(case.harmful for case in cases) / len(cases),
            "clean_windows": len(rounds),
            "clean_quarantined": quarantined,
            "clean_escalated": sum("escalate" in lived.actions for lived in rounds),
        }
    return totals


def total_changes(changes: Sequence[float], decisions: int) -> dict[str, Any]:
    """How many promotions without drift were harmful, given the change in AUC of each."""
    return {
        "promotions": len(changes),
        "decisions": decisions,
        "harmful": sum(change < -REAL_LOSS for change in changes),
        "worst": min(changes, default=0.0),
    }


def show(console: Console, title: str, totals: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a table with a line for each policy."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for place, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    for name, figures in totals.items():
        over, worst = figures["over_schedule"], figures.get("over_schedule_worst")
        table.add_row(
            name,
            _shown(figures["share"], ".3f"),
            f"{figures['trainings_share']:.0%}",
            f"{figures['worst_regret']:.4f}",
            f"{max(0.0, figures['below_static']):.4f}",
            str(figures["promotions"]),
            str(figures["harmful"]),
            str(figures["missed"]),
            str(figures["rejected"]),
            _shown(over, "+.3f"),
            _shown(worst, "+.3f"),
        )
    console.print(table)


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def describe_controls(figures: Mapping[str, Any]) -> str:
    """What the loop promoted for nothing on the streams without drift."""
    return (
        f"without drift: {figures['harmful']} of {figures['decisions']} decisions promoted a model "
        f"worse by more than {REAL_LOSS} on all later rows (worst {figures['worst']:+.4f})"
    )


def describe_shuffled(figures: Mapping[str, Any]) -> str:
    """What the loop did on shuffled streams."""
    return (
        f"{figures['histories']} shuffled histories: {figures['trainings_share']:.0%} of "
        f"{figures['rounds']} windows trained; {figures['harmful']} of {figures['decisions']} "
        f"decisions promoted a model worse by more than {REAL_LOSS} (worst {figures['worst']:+.4f})"
    )


def describe_faults(policy: str, figures: Mapping[str, Any]) -> str:
    """What became of the faulty windows under one policy."""
    return (
        f"{policy}: {figures['shipped']} of {figures['cases']} faulty windows taught a live model, "
        f"{figures['harmful']} at a cost of more than 0.02 AUC ({figures['harmful_share']:.1%}); "
        f"of {figures['clean_windows']} clean windows {figures['clean_quarantined']} were "
        f"quarantined, {figures['clean_escalated']} escalated"
    )
