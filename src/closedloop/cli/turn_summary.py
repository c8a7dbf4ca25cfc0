"""What a turn found and what came of it, in a few lines, as JSON and as an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from closedloop.cli.plain_text import plain
from closedloop.decisions.checks import Action
from closedloop.storage.details import DriftFacts, PromotionDetails, RealisedFacts, WindowFacts
from closedloop.storage.entry import Entry
from closedloop.turn.open import Loop

NOT_CARRIED_OUT, WAITING = "not carried out", "waiting"
# What came of a turn, and the exit code that says so. Below 10 are errors.
EXIT_CODES = {
    "kept": 0,
    "promoted": 10,
    "rejected": 11,
    "escalated": 12,
    "rolled back": 13,
    NOT_CARRIED_OUT: 14,
    WAITING: 15,
}
_RESULTS = {
    Action.KEEP: "kept",
    Action.PROMOTE: "promoted",
    Action.REJECT: "rejected",
    Action.ESCALATE: "escalated",
    Action.ROLLBACK: "rolled back",
    Action.WAIT: WAITING,
}


@dataclass(frozen=True)
class TurnSummary:
    """The facts of a turn; None where nothing was measured.

    `auc_at_promotion` is that of the version that was live when the turn began. `candidate` is the
    version that a training brought, with its val_auc and production's on the same rows.
    """

    window: str
    result: str
    reason: str
    rows: int | None = None
    labelled_rows: int | None = None
    drift_share: float | None = None
    max_drift_share: float | None = None
    drifted_columns: tuple[str, ...] = ()
    drift_reference: str | None = None
    realised_auc: float | None = None
    realised_on: str | None = None
    auc_at_promotion: float | None = None
    production_before: int | None = None
    production: int | None = None
    candidate: int | None = None
    val_auc: float | None = None
    production_val_auc: float | None = None

    @property
    def exit_code(self) -> int:
        """The code that `--exit-code` ends with."""
        return EXIT_CODES[self.result]

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints under `summary`."""
        return {**asdict(self), "exit_code": self.exit_code}


def summarise(loop: Loop, entries: Sequence[Entry]) -> TurnSummary:
    """A turn from its decisions, in the order in which they followed from each other."""
    first, last = entries[0], entries[-1]
    window = first.turn.window or WindowFacts()
    drift, realised = first.turn.drift or DriftFacts(), first.turn.realised or RealisedFacts()
    aucs = {known.version: known.val_auc for known in loop.registry.versions()}
    before = first.production
    details = last.details
    compared = details.comparison if isinstance(details, PromotionDetails) else None
    return TurnSummary(
        window=first.decision.window,
        result=_result(last),
        reason=last.decision.reason,
        rows=window.rows,
        labelled_rows=window.labelled_rows,
        drift_share=drift.drift_share,
        max_drift_share=loop.use_case.policy.retraining.max_drift_share,
        drifted_columns=drift.drifted_columns,
        drift_reference=drift.drift_reference,
        realised_auc=realised.realised_auc,
        realised_on=realised.realised_on,
        auc_at_promotion=None if before is None else aucs.get(before),
        production_before=before,
        production=loop.registry.production(),
        candidate=last.decision.version if compared else None,
        val_auc=compared.val_auc if compared else None,
        production_val_auc=compared.production_val_auc if compared else None,
    )


def _result(entry: Entry) -> str:
    moved = entry.decision.action in (Action.PROMOTE, Action.ROLLBACK)
    if entry.outcome == "superseded" or (moved and entry.outcome is None):
        return NOT_CARRIED_OUT
    # A retraining that nothing followed from is left to another worker.
    return _RESULTS.get(entry.decision.action, NOT_CARRIED_OUT)


def show_summary(console: Console, found: TurnSummary) -> None:
    """Print a line each for the window, drift, quality and versions."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, told in tell(found).items():
        table.add_row(name, plain(told))
    console.print(table, highlight=False)


def tell(found: TurnSummary) -> dict[str, str]:
    """The lines by their name; a training has no drift, and a turn maybe no candidate.

    The decision itself and its reason follow in a box of their own.
    """
    lines = {"window": found.window}
    if found.rows is not None:
        lines["window"] += f": {found.rows:,} rows, {found.labelled_rows or 0:,} with a label"
        lines["drift"] = _tell_drift(found)
        lines["quality"] = _tell_quality(found)
    lines["production"] = _tell_production(found)
    if found.candidate is not None:
        other = "no production to compare with"
        if found.production_val_auc is not None:
            other = f"production {found.production_val_auc:.4f} on the same rows"
        lines["candidate"] = f"version {found.candidate}: val_auc {_number(found.val_auc)}, {other}"
    return lines


def _tell_drift(found: TurnSummary) -> str:
    if found.drift_share is None:
        return "not measured"
    columns = f" ({', '.join(found.drifted_columns)})" if found.drifted_columns else ""
    against = f" against {found.drift_reference}" if found.drift_reference else ""
    return (
        f"drift_share {found.drift_share:.2f}{against}, limit {found.max_drift_share:.2f}{columns}"
    )


def _tell_quality(found: TurnSummary) -> str:
    if found.production_before is None:
        return "no production model to judge"
    version = f"the promotion of version {found.production_before}"
    promoted = f"{_number(found.auc_at_promotion)} at {version}"
    if found.realised_auc is None:
        return f"realised AUC unknown: no labels that are new to production; {promoted}"
    return f"realised AUC {found.realised_auc:.4f} on {found.realised_on}; {promoted}"


def _tell_production(found: TurnSummary) -> str:
    before = "none" if found.production_before is None else f"version {found.production_before}"
    if found.production == found.production_before:
        return before
    now = "none" if found.production is None else f"version {found.production}"
    return f"{before} before, {now} now"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
