"""What the gates would say of a recipe on the newest labels; nothing is registered or decided."""

from __future__ import annotations

import difflib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from closedloop.decisions.checks import Decision
from closedloop.decisions.evidence import Comparison, PromotionEvidence
from closedloop.decisions.promotion import decide_promotion
from closedloop.errors import UseCaseError
from closedloop.turn.candidate import fit_candidate
from closedloop.turn.history import History
from closedloop.turn.open import Loop
from closedloop.turn.register import package
from closedloop.use_case.contract import UseCase
from closedloop.use_case.recipe import LEARNERS


@dataclass(frozen=True)
class TriedRecipe:
    """A recipe on each history, the one that would be proposed, and what would be decided."""

    comparisons: tuple[Comparison, ...]
    evidence: PromotionEvidence
    decision: Decision


def try_recipe(loop: Loop, name: str, window: str | None = None) -> TriedRecipe:
    """Fit, compare and package a recipe as a training for a window would.

    Raises UseCaseError for a recipe that is neither a learner nor in loop.toml, and as
    `propose_candidate`.
    """
    use_case = loop.use_case
    refuse_unknown(use_case, name, "closedloop try")
    training = replace(use_case.training, recipes=(name,))
    alone = replace(loop, use_case=replace(use_case, training=training))
    history = History(alone, window)
    candidate = fit_candidate(history)
    with tempfile.TemporaryDirectory() as temporary:
        _, evidence = package(history, candidate, Path(temporary) / "model")
    decision = decide_promotion(evidence, use_case.policy)
    return TriedRecipe(candidate.twins.comparisons, evidence, decision)


def refuse_unknown(use_case: UseCase, name: str, command: str) -> None:
    """Raise UseCaseError for a recipe that is neither a learner nor in loop.toml."""
    known = tuple(dict.fromkeys((*use_case.recipes, *LEARNERS)))
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise UseCaseError(
            where=command,
            wanted=f"one of {', '.join(known)}",
            got=repr(name),
            then=f"did you mean {near[0]}?" if near else f"add [recipes.{name}] to loop.toml",
        )
