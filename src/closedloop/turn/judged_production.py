"""What a candidate is compared with: production itself, or a twin of it on rows that it knows."""

from __future__ import annotations

from dataclasses import replace

from closedloop.bundle.own_code import refuse_own_code_of_others
from closedloop.bundle.scorer import Scorer
from closedloop.training.candidates import Split
from closedloop.training.fits import Fit, Fits
from closedloop.training.recipes import parse_recipe
from closedloop.turn.history import History
from closedloop.turn.ports import Parts


def find_production(
    history: History[Parts], split: Split, fits: Fits
) -> tuple[Scorer | None, str | None]:
    """What answers for production on the evaluation rows, or why nothing does.

    If production was trained on those rows, its recipe is refitted without them: two recipes are
    then compared, on rows that are new to both.
    """
    live, use_case = history.production, history.loop.use_case
    if live is None:
        return None, None
    fitted_through = history.place(live.trained_through)
    if fitted_through is not None and split.evaluation.index <= fitted_through:
        theirs = history.bundle.use_case if history.bundle else use_case
        refuse_own_code_of_others(parse_recipe(live.recipe)[0], theirs, use_case)
        same = find_unchanged_recipe(history) is not None
        as_fitted = use_case if same else replace(use_case, recipes=theirs.recipes)
        return fits.ask(Fit(live.recipe, split.history, as_fitted))[0], None
    if history.bundle is None:
        return None, history.production_error
    return history.bundle.scorer, None


def find_unchanged_recipe(history: History[Parts]) -> str | None:
    """Production's recipe, if loop.toml still means the same by it; else it is another one."""
    live = history.production
    if live is None:
        return None
    name, now = parse_recipe(live.recipe)[0], history.loop.use_case.recipes
    then = history.bundle.use_case.recipes if history.bundle else now
    return live.recipe if now.get(name) == then.get(name) else None
