"""`closedloop experiment`: search for a better recipe on past windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from closedloop.cli.options import AsJson, UseCasePath
from closedloop.cli.session import Session

if TYPE_CHECKING:
    from closedloop.experiment.search import Found
    from closedloop.experiment.trial import Trial

STOPPED = 130  # as a shell has it after Ctrl-C
_SHOWN = 5

Trials = Annotated[
    int, typer.Option("--trials", min=1, help="Trials in all, with those of an earlier call.")
]
RecipeNames = Annotated[
    list[str] | None,
    typer.Option(
        "--recipe",
        metavar="NAME",
        help="A recipe of loop.toml, or a learner by name; repeatable.",
        show_default="the recipes of loop.toml",
    ),
]
FoldCount = Annotated[
    int, typer.Option("--folds", min=1, help="Number of windows that every trial is scored on.")
]
Write = Annotated[
    bool, typer.Option("--write", help="Append the best recipe to loop.toml, if it is a new one.")
]


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop experiment --trials 40 --recipe lightgbm")
    def experiment(
        use_case: UseCasePath = None,
        trials: Trials = 20,
        recipes: RecipeNames = None,
        folds: FoldCount = 3,
        write: Write = False,
        as_json: AsJson = False,
    ) -> None:
        """Search for better parameters on past windows; register nothing.

        A search that was stopped goes on when the command is repeated.
        """
        loop = session.open_loop(use_case)
        with session.working("loading libraries ..."):
            from closedloop.cli.progress_bar import show_progress
            from closedloop.experiment.search import search
            from closedloop.experiment.written_recipe import append_recipe

        with show_progress(session.progress, f"searching for {loop.use_case.name}") as progress:
            found = search(
                loop, recipes=recipes or (), trials=trials, folds=folds, on_progress=progress
            )
        written = write and found.recipe is not None and not found.stopped
        if written and found.recipe is not None:
            append_recipe(loop.use_case.path, found.recipe.name, found.recipe.block)
        session.show(as_json, _describe(found, written), lambda: _show(session, found, written))
        if found.stopped:
            session.warn("stopped; the same command goes on")
            raise typer.Exit(STOPPED)


def _describe(found: Found, written: bool) -> dict[str, Any]:
    from dataclasses import asdict

    turn = found.measure.turn
    return {
        "search": found.name,
        "run": found.run_id,
        "measure": found.measure.words,
        "stopped": found.stopped,
        "left_to_the_gate": found.folds.left,
        "folds": [
            {
                "window": fold.judged.name,
                "rows": len(fold.judged.labels),
                "trained": [window.name for window in fold.history],
                "production": None if fold.production is None else turn(fold.production),
            }
            for fold in found.folds.folds
        ],
        "trials": [
            {
                **asdict(trial),
                "number": trial.number + 1,
                "score": None if trial.score is None else turn(trial.score),
                "by_fold": [turn(score) for score in trial.by_fold],
            }
            for trial in found.trials
        ],
        "best": found.best.number + 1,
        "recipe": None
        if found.recipe is None
        else {"name": found.recipe.name, "toml": found.recipe.block, "written": written},
    }


def _show(session: Session, found: Found, written: bool) -> None:
    from rich.table import Table

    from closedloop.cli.plain_text import plain

    words, turn, console = found.measure.words, found.measure.turn, session.console
    earlier = f", {found.before} of them from before" if found.before else ""
    console.print(
        f"{len(found.trials)} trials{earlier}, fitted on the windows before and scored on "
        f"{plain(', '.join(found.folds.named))}"
    )
    table = Table("trial", "recipe", f"mean {words}", "F1", "log loss", "parameters", box=None)
    for trial in _best_first(found):
        assert trial.score is not None
        said = ", ".join(f"{name} {value}" for name, value in trial.parameters.items())
        table.add_row(
            f"{trial.number + 1}{' *' if trial is found.best else ''}",
            f"{trial.recipe}/{trial.history}",
            f"{turn(trial.score):.4f}",
            f"{trial.f1:.3f}",
            f"{trial.log_loss:.4f}",
            plain(said) if trial.changed else "as it is",
        )
    if (row := _compare_production(found)) is not None:
        table.add_row("", "production", *row)
    console.print(table)
    for sentence in _notes(found):
        session.print_line(sentence)
    if found.recipe is None:
        session.print_line(
            f"no other parameters are better than recipe {found.best.recipe} as it is"
        )
        return
    session.print_line("" if written else f"\n{found.recipe.block}")
    name = found.recipe.name
    session.print_line(
        f"written into loop.toml as [recipes.{name}]; next:"
        if written
        else "next: append that to loop.toml, or run the same command with --write; then"
    )
    session.print_line(f"  closedloop try {name}    # what the gates would say")
    session.print_line(f'  add "{name}" to recipes under [training]; then: closedloop train')


def _best_first(found: Found) -> list[Trial]:
    """The best trials, and the best recipe as it is."""
    known = [trial for trial in found.trials if trial.score is not None]
    known.sort(key=lambda trial: -(trial.score or 0.0))
    plain = [trial for trial in known if not trial.changed]
    return [*known[:_SHOWN], *(trial for trial in plain[:1] if trial not in known[:_SHOWN])]


def _compare_production(found: Found) -> tuple[str, ...] | None:
    """Production's row of the table: its score on the folds that are newer than its rows."""
    turn, best, folds = found.measure.turn, found.best, found.folds.folds
    fair = [
        (fold.production, score)
        for fold, score in zip(folds, best.by_fold, strict=True)
        if fold.production is not None
    ]
    if not fair:
        return None
    theirs, ours = (sum(scores) / len(fair) for scores in zip(*fair, strict=True))
    named = f"version {found.production}, on {len(fair)} of {len(folds)} windows"
    return (
        f"{turn(theirs):.4f}",
        "",
        "",
        f"{named}; trial {best.number + 1} there: {turn(ours):.4f}",
    )


def _notes(found: Found) -> list[str]:
    failed = [trial for trial in found.trials if trial.error]
    notes = [f"{len(failed)} trials could not be fitted: {failed[0].error}"] if failed else []
    if found.production is not None and all(fold.production is None for fold in found.folds.folds):
        notes.append(
            f"production, version {found.production}, is not compared: it was trained on these "
            "windows or newer ones, or cannot be scored"
        )
    if found.folds.left is None:
        notes.append("a training judges the best recipe on rows that chose it: wait for a window")
    else:
        notes.append(f"{found.folds.left} is left out: there try and train judge the best recipe")
    return notes
