"""`closedloop try`: what the gates would say of a recipe."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from closedloop.cli.options import AsJson, UseCasePath, WindowName
from closedloop.cli.session import Session

if TYPE_CHECKING:
    from closedloop.decisions.evidence import Comparison, Estimate
    from closedloop.turn.open import Loop
    from closedloop.turn.try_recipe import TriedRecipe


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command("try", epilog="Example: closedloop try random_forest --use-case data/iris")
    def try_command(
        recipe: Annotated[
            str,
            typer.Argument(help="A recipe of loop.toml, or a learner by name.", metavar="RECIPE"),
        ],
        use_case: UseCasePath = None,
        window: WindowName = None,
        as_json: AsJson = False,
    ) -> None:
        """Fit a recipe, compare it with production and show the gates; register nothing."""
        loop = session.open_loop(use_case)
        from closedloop.turn.try_recipe import try_recipe

        with session.working(f"fitting {recipe} ..."):
            found = try_recipe(loop, recipe, window)
        content = {
            "recipe": recipe,
            "action": found.decision.action.value,
            "reason": found.decision.reason,
            "comparisons": [asdict(each) for each in found.comparisons],
            "checks": [asdict(each) for each in found.decision.checks],
        }
        session.show(as_json, content, lambda: _show(session, loop, recipe, found))


def _show(session: Session, loop: Loop, recipe: str, found: TriedRecipe) -> None:
    from rich.table import Table

    from closedloop.cli.decision_view import coloured, show_checks, show_scores
    from closedloop.cli.plain_text import plain
    from closedloop.decisions.deciding_measure import MEASURES

    chosen = found.evidence.comparison
    assert chosen is not None
    against = (
        "nothing is in production"
        if found.evidence.production is None
        else f"production is version {found.evidence.production}"
    )
    gain = MEASURES[loop.use_case.policy.promotion.measure].gain
    head = ("candidate", "val_auc", f"{gain} against production", "F1", "log loss")
    table = Table(*head, "threshold", box=None)
    for each in found.comparisons:
        table.add_row(*_row(each, is_chosen=each.recipe == chosen.recipe))
    if chosen.production is not None:
        auc = chosen.production.val_auc
        table.add_row("production", _number(auc), "", "", f"{chosen.production.log_loss:.4f}", "")
    console = session.console
    console.print(
        f"{plain(recipe)} on {chosen.candidate.rows} rows of {plain(chosen.judged_on)}; {against}"
    )
    console.print(table)
    console.print(
        f"would be: {coloured(found.decision.action.value)}, {plain(found.decision.reason)}"
    )
    show_checks(console, found.decision)
    show_scores(console, chosen, loop.use_case.policy.promotion.confidence)
    console.print(
        "nothing was registered; a training tries it once it is named in \\[training] recipes",
        style="dim",
        highlight=False,
    )


def _row(comparison: Comparison, *, is_chosen: bool) -> tuple[str, ...]:
    scores = comparison.candidate
    return (
        comparison.recipe + (" *" if is_chosen and comparison.production else ""),
        _number(scores.val_auc),
        _interval(comparison.delta),
        f"{scores.f1:.3f}",
        f"{scores.log_loss:.4f}",
        "likeliest" if comparison.threshold is None else f"from {comparison.threshold:.4f}",
    )


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def _interval(delta: Estimate | None) -> str:
    return "" if delta is None else f"{delta.value:+.4f} [{delta.lower:+.4f}, {delta.upper:+.4f}]"
