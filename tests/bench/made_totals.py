"""The totals of `make bench-made`: the figures of one kind of stream by policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tests.bench.made_streams import Kind
from tests.bench.replay_totals import SCHEDULES, measure_over_schedule

NEVER = 99
# Damage by wrong labels that somebody would notice, in AUC.
NOTICED = 0.02
# Less than this is no gain that a share could be taken of, in AUC.
_NOTHING = 0.004
_SHOWN = {
    "share": ".2f",
    "trainings": ".0%",
    "over_schedule": "+.2f",
    "regret": ".4f",
    "promotions": "d",
    "rollbacks": "d",
    "quarantined": "d",
    "harmful": "d",
    "decisions": "d",
    "windows_to_catch_up": "g",
    "damaged": "d",
}


@dataclass(frozen=True)
class Lived:
    """One policy on one stream.

    `auc` is the mean over the rounds. `harmful` counts promotions that lost on many later rows,
    None where the stream changes; `damage` is what wrong labels cost at worst in one window, in
    AUC, None without any.
    """

    kind: Kind
    policy: str
    auc: float
    rounds: int
    trainings: int
    promotions: int
    rollbacks: int
    quarantined: int = 0
    harmful: int | None = None
    caught_up: int | None = None
    damage: float | None = None


def total(found: Sequence[Lived]) -> dict[str, dict[str, Any]]:
    """Figures by policy: share of always-retraining's gain, and what it took.

    `regret` is the worst over the streams, to the best schedule of each; `over_schedule` is the
    share over that of a schedule with as many trainings.
    """
    policies = tuple(dict.fromkeys(lived.policy for lived in found))
    by_policy = {
        policy: [lived for lived in found if lived.policy == policy] for policy in policies
    }
    gains = {
        policy: fmean(a.auc - b.auc for a, b in zip(lived, by_policy["static"], strict=True))
        for policy, lived in by_policy.items()
    }
    whole = gains["always"]
    shares = {name: gain / whole if whole > _NOTHING else None for name, gain in gains.items()}
    schedules = [policy for policy in policies if policy in SCHEDULES]
    best = [
        max(by_policy[name][place].auc for name in schedules)
        for place in range(len(by_policy["static"]))
    ]
    spent = {name: sum(lived.trainings for lived in own) for name, own in by_policy.items()}
    known = [(spent[name], share) for name in schedules if (share := shares[name]) is not None]
    totals = {}
    for policy, own in by_policy.items():
        caught = [lived.caught_up for lived in own if lived.caught_up is not None]
        harmful = [lived.harmful for lived in own if lived.harmful is not None]
        damage = [lived.damage for lived in own if lived.damage is not None]
        share = shares[policy]
        totals[policy] = {
            "streams": len(own),
            "gain": gains[policy],
            "share": share,
            "trainings": spent[policy] / sum(lived.rounds for lived in own),
            "over_schedule": None
            if share is None
            else measure_over_schedule(share, spent[policy], known),
            "regret": max(most - lived.auc for most, lived in zip(best, own, strict=True)),
            "promotions": sum(lived.promotions for lived in own),
            "rollbacks": sum(lived.rollbacks for lived in own),
            "quarantined": sum(lived.quarantined for lived in own),
            "harmful": sum(harmful) if harmful else None,
            "decisions": spent[policy],
            "windows_to_catch_up": median(caught) if caught else None,
            "damaged": sum(lost > NOTICED for lost in damage) if damage else None,
        }
    return totals


def show(console: Console, title: str, totals: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a table with a line for each policy."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("policy", no_wrap=True)
    for heading in _SHOWN:
        table.add_column(heading.replace("_", " "), justify="right")
    for name, figures in totals.items():
        cells = (
            "-" if figures[key] is None else format(figures[key], form)
            for key, form in _SHOWN.items()
        )
        table.add_row(name, *cells)
    console.print(table)
