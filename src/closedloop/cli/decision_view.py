"""How decisions look in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from closedloop.cli.plain_text import plain
from closedloop.decisions.checks import Decision, Role
from closedloop.decisions.evaluation_rows import ENOUGH_NEW
from closedloop.decisions.evidence import Comparison
from closedloop.decisions.notes import LEFT_OUT, NEW_COLUMNS
from closedloop.errors import RegistryError
from closedloop.metrics.importance import Importance, tell_importance
from closedloop.operations.access.servers_file import find_running
from closedloop.registry.runs import PRUNED_REPORT, REPORT
from closedloop.storage.details import PromotionDetails
from closedloop.storage.entry import Entry
from closedloop.turn.approval import tell_answer
from closedloop.turn.class_scores import CLASS_HEAD, tell_auc, tell_classes
from closedloop.turn.corrected_labels import tell_corrections
from closedloop.turn.open import Loop
from closedloop.turn.shadow_facts import tell_replay
from closedloop.turn.waiting_decisions import is_open
from closedloop.turn.without_labels import tell_estimates
from closedloop.views.words import brief_reason, reason_of

COLOURS = {
    "promote": "green",
    "rollback": "yellow",
    "retrain": "cyan",
    "reject": "magenta",
    "wait": "bright_yellow",
    "quarantine": "magenta",
    "release": "green",
    "escalate": "red",
    "keep": "dim",
    "serve": "blue",
    "accept": "yellow",
    "forget": "yellow",
    "return": "yellow",
}
# Notes that are shown with every decision.
TOLD = (NEW_COLUMNS, LEFT_OUT)
MOST_NEEDED = 10
WIDE = 100
ANSWER_COLOURS = {
    "holds": "green",
    "fails": "red",
    "unknown": "yellow",
    "yes": "cyan",
    "no": "dim",
}


def coloured(action: str) -> str:
    """An action in its colour, as markup."""
    colour = COLOURS.get(action, "white")
    return f"[{colour}]{action}[/{colour}]"


def report_link(loop: Loop, entry: Entry, *, let_in: bool = False) -> str | None:
    """The address of a decision's report on the MLflow server that the settings name today.

    With `let_in` it holds the login of a running `closedloop up`: for people, not for logs.
    """
    link = entry.turn.run.report if entry.turn.run else None
    if link is None or "/#/" not in link:
        return link
    page = link.partition("/#/")[2]
    # Without this, MLflow shows the runs as evaluations of language models.
    page = f"/#/{page}?workflowType=machine_learning"
    running = find_running(loop.settings.home_folder).get("MLflow") if let_in else None
    if running is not None and running.address == loop.mlflow_ui:
        return running.link(page)
    return loop.mlflow_ui + page


def tell_report(loop: Loop, entry: Entry, *, let_in: bool = False) -> str | None:
    """Where a decision's report is, or that it was pruned; None when there never was one."""
    link, run = report_link(loop, entry, let_in=let_in), entry.turn.run
    if link is None or run is None:
        return None
    # An MLflow that is away says nothing about its reports.
    with suppress(RegistryError):
        if run.run and REPORT in link and loop.registry.is_pruned(run.run):
            return f"{PRUNED_REPORT}: CLOSEDLOOP_KEEP_REPORTS says how many stay"
    return f"report (while closedloop up runs): {link}"


def show_decision(
    console: Console, entry: Entry, *, report: str | None = None, every_check: bool = False
) -> None:
    """Print a decision and its reason; with `every_check` also the table of its checks.

    `report` is the sentence of `tell_report`.
    """
    decision = entry.decision
    version = f", version {decision.version}" if decision.version is not None else ""
    outcome = entry.outcome or ("open" if is_open(entry) else "not carried out yet")
    title = (
        f"decision {entry.id}: {coloured(decision.action.value)} "
        f"({decision.kind.value}, {plain(decision.window)}{version}, {outcome})"
    )
    lines = [plain(reason_of(decision))]
    lines += [plain(told) for told in _rows_left_out(decision)]
    lines += [plain(str(check)) for check in decision.checks if check.claim in TOLD]
    if str(entry.note):
        lines.append(plain(str(entry.note)))
    if entry.by:
        lines.append(f"decided by {plain(entry.by)}, {entry.at:%Y-%m-%d %H:%M} UTC")
    if is_open(entry):
        lines.append(
            f"to answer: closedloop approve {entry.id} --reason WHY, or: "
            f"closedloop reject {entry.id} --reason WHY"
        )
    lines += [plain(said) for said in (*entry.turn.notes, *tell_estimates(entry.turn))]
    if isinstance(entry.details, PromotionDetails) and entry.details.shadow:
        lines += map(plain, tell_replay(entry.details.shadow))
    if not every_check:
        lines.append(f"[dim]all checks: closedloop why {entry.id}[/dim]")
    console.print(Panel("\n".join(lines), title=title, title_align="left"))
    if every_check:
        show_checks(console, decision)
    if entry.cause is not None:
        console.print(f"caused by decision {entry.cause}", style="dim", highlight=False)
    if report:
        # Outside the box and on one line, so that it can be clicked and copied.
        console.print(plain(report), soft_wrap=True, highlight=False)


def show_answer(console: Console, answer: Entry, person: str) -> None:
    """Print the answer to a decision that waited, and whose it is if not of this `person`."""
    if answer.by != person:
        console.print(f"answered before: {plain(tell_answer(answer))}", highlight=False)
    show_decision(console, answer)


def show_checks(console: Console, decision: Decision) -> None:
    """Print the table of a decision's checks."""
    table = Table("role", "check", "answer", "condition", "got", box=None, pad_edge=False)
    for check in sorted(decision.checks, key=lambda check: list(Role).index(check.role)):
        colour = ANSWER_COLOURS[check.answer]
        table.add_row(
            check.role.value,
            plain(check.claim),
            f"[{colour}]{check.answer}[/{colour}]",
            plain(check.wanted),
            plain(check.got),
        )
    console.print(table)


def show_importance(console: Console, importance: Importance) -> None:
    """Print the columns that a version needs most, and what changed against production."""
    shown = importance.columns[:MOST_NEEDED]
    table = Table("column", "AUC lost when shuffled", box=None, pad_edge=False)
    if importance.production is not None:
        table.add_column(f"version {importance.production}")
        table.add_column("change")
    for column in shown:
        table.add_row(*map(plain, tell_importance(column, importance.production is not None)))
    left = len(importance.columns) - len(shown)
    console.print(
        f"\nneeded columns, on {importance.rows:,} rows of {plain(importance.window)}"
        + (f", {left} more in importance.json of the version's run" if left else ""),
        highlight=False,
    )
    console.print(table)


def show_scores(console: Console, comparison: Comparison, confidence: float) -> None:
    """Print the AUC of a candidate with its interval, and precision, recall and F1 by class."""
    scores, live = comparison.candidate, comparison.production
    auc = f"AUC {tell_auc(scores, confidence)}"
    if live is not None:
        auc += f", of production {tell_auc(live, confidence)}"
    console.print(
        f"\nscores on {scores.rows:,} rows of {plain(comparison.judged_on)}: {auc}", highlight=False
    )
    table = Table(*CLASS_HEAD, box=None, pad_edge=False)
    for cells in tell_classes(comparison):
        table.add_row(*map(plain, cells))
    console.print(table)
    if live is not None:
        console.print("in brackets: production on the same rows", style="dim", highlight=False)


def _rows_left_out(decision: Decision) -> list[str]:
    """How many rows judged no model, where the reason does not say it."""
    told = [str(check) for check in decision.checks if check.claim == ENOUGH_NEW]
    return [sentence for sentence in told if sentence not in decision.reason]


def show_history(
    console: Console, entries: Sequence[Entry], corrected: Mapping[int, int] | None = None
) -> None:
    """Print a table row per decision; a narrow terminal gets fewer columns.

    `corrected`: decision -> rows whose label was corrected since.
    """
    if not entries:
        console.print("no decisions yet: closedloop monitor", highlight=False)
        return
    wide = console.width >= WIDE
    table = Table(box=None, pad_edge=False)
    for name in ("id", *(("at (UTC)",) if wide else ()), "window", "decision"):
        table.add_column(name, no_wrap=True)
    table.add_column("version", justify="right")
    table.add_column("why")
    for entry in entries:
        decision = entry.decision
        at = (entry.at.strftime("%Y-%m-%d %H:%M"),) if wide else ()
        outcome = "" if entry.outcome == "done" else f" ({entry.outcome or 'open'})"
        said = list(tell_estimates(entry.turn))
        if rows := (corrected or {}).get(entry.id):
            said.append(tell_corrections(rows))
        told = [f"[dim]{plain(sentence)}[/dim]" for sentence in said]
        table.add_row(
            str(entry.id),
            *at,
            plain(decision.window),
            coloured(decision.action.value) + outcome,
            "" if decision.version is None else str(decision.version),
            "\n".join((plain(brief_reason(decision)), *told)),
        )
    console.print(table)
    console.print("all checks of a decision: closedloop why ID", style="dim", highlight=False)
