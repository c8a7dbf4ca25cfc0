"""How the answers of a shadow look in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from closedloop.cli.plain_text import plain
from closedloop.decisions.deciding_measure import MEASURES
from closedloop.decisions.evidence import Estimate
from closedloop.shadow.live_comparison import LiveComparison
from closedloop.turn.open import Loop


def show_shadow(console: Console, found: LiveComparison, loop: Loop) -> None:
    """Print what agrees, what changes, and both AUCs on the rows that have labels."""
    for sentence in tell_shadow(found, MEASURES[loop.use_case.policy.promotion.measure].gain):
        console.print(plain(sentence), highlight=False)
    if not found.slices:
        return
    deltas = {part.name: part.delta for part in found.slice_deltas}
    table = Table("slice", "rows", "other predictions", "delta", box=None, pad_edge=False)
    for part in found.slices:
        delta = deltas.get(part.name)
        share = f"{part.flips:,} ({part.flips / part.rows:.1%})" if part.rows else "0"
        table.add_row(
            plain(part.name) + (" (protected)" if part.protected else ""),
            f"{part.rows:,}",
            share,
            "unknown" if delta is None else str(delta),
        )
    console.print(table)


def tell_shadow(found: LiveComparison, measure: str) -> list[str]:
    """The comparison in sentences."""
    given = ", ".join(map(str, found.production)) or "none"
    told = [
        f"version {found.version} was asked {found.rows:,} rows in the shadow of version {given}; "
        f"it failed on {found.failed:,}"
    ]
    if found.compared:
        told.append(
            f"it predicts the same on {1 - found.flips / found.compared:.1%} of {found.compared:,} "
            f"rows, and another class on {found.flips:,}; the scores are {found.score_shift:.3f} "
            "apart (Kolmogorov-Smirnov, 0 to 1)"
        )
    if found.unmeasured:
        told.append(f"{found.labelled:,} of these rows have a label: {found.unmeasured}")
        return told
    if found.delta is None or found.auc is None or found.production_auc is None:
        told.append(f"{found.labelled:,} of these rows have a label: too few to compare scores")
        return told
    told.append(
        f"on {found.labelled:,} rows with a label: AUC {_interval(found.auc)}, of the answers that "
        f"were given {_interval(found.production_auc)}"
    )
    verdict = (
        "worse than"
        if found.delta.upper < 0
        else "better than"
        if found.delta.lower > 0
        else "not clearly better or worse than"
    )
    told.append(f"{verdict} what was given: {measure} {found.delta}")
    return told


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.4f} [{estimate.lower:.4f}, {estimate.upper:.4f}]"
