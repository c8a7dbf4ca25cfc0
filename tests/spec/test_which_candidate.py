"""The manual of `choose_candidate`: of several candidates on the same rows, which one goes before the gate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from closedloop.decisions.candidates import choose_candidate
from closedloop.decisions.deciding_measure import Measured
from closedloop.decisions.evidence import Comparison
from closedloop.decisions.policy import Policy
from tests.spec.examples import comparison, delta, scores, with_promotion


def made(recipe: str, val_auc: float | None, **changes: Any) -> Comparison:
    return comparison(
        recipe=recipe,
        history=recipe.partition("/")[2],
        candidate=scores(val_auc),
        same_recipe=recipe.startswith("logistic"),
        **changes,
    )


BETTER, SAME, WORSE = delta(0.02), delta(0.0), delta(-0.02)
ALONE = {"production": None, "delta": None}

# fmt: off
TABLE = [
    # situation                                             candidates                                                               chosen
    ("nothing was compared",                                (),                                                                      None),
    ("one candidate, good or bad",                          (made("lightgbm/all", 0.5, delta=WORSE),),                                "lightgbm/all"),
    ("both allowed: the better",                            (made("logistic/all", 0.81, delta=SAME), made("lightgbm/all", 0.83, delta=BETTER)), "lightgbm/all"),
    ("the better one is another recipe, not surely better", (made("logistic/all", 0.81, delta=SAME), made("lightgbm/all", 0.83, delta=SAME)), "logistic/all"),
    ("the better refit of the same recipe",                 (made("logistic/all", 0.81, delta=SAME), made("logistic/recent", 0.82, delta=SAME)), "logistic/recent"),
    ("weighing recent rows gains next to nothing",          (made("logistic/all", 0.81, delta=SAME), made("logistic/recent", 0.8115, delta=SAME)), "logistic/all"),
    ("none is allowed: production's recipe",                (made("lightgbm/all", 0.83, delta=SAME), made("logistic/all", 0.78, delta=WORSE)), "logistic/all"),
    ("none is allowed, none is production's recipe",        (made("lightgbm/all", 0.79, delta=WORSE), made("lightgbm/recent", 0.80, delta=SAME)), "lightgbm/recent"),
    ("no production model: the best",                       (made("logistic/all", 0.81, **ALONE), made("lightgbm/all", 0.82, **ALONE)), "lightgbm/all"),
    ("a tie goes by name",                                  (made("logistic/recent", 0.81, delta=SAME), made("logistic/all", 0.81, delta=SAME)), "logistic/all"),
    ("an unknown val_auc is last",                          (made("logistic/all", None, delta=SAME), made("logistic/recent", 0.70, delta=SAME)), "logistic/recent"),
    ("an unknown delta allows nothing",                     (made("lightgbm/all", 0.90, delta=None), made("logistic/all", 0.80, delta=SAME)), "logistic/all"),
]
# fmt: on


@pytest.mark.parametrize(
    ("situation", "candidates", "chosen"), TABLE, ids=[row[0] for row in TABLE]
)
def test_which_candidate(
    situation: str, candidates: tuple[Comparison, ...], chosen: str | None
) -> None:
    """Each set of candidates sends the named recipe before the gate, in whatever order they come."""
    for order in (candidates, candidates[::-1]):
        found = choose_candidate(order, Policy())
        assert (found.recipe if found else None) == chosen, situation


def test_the_measure_of_the_policy_ranks_the_candidates() -> None:
    """The smaller log loss goes before the gate, though its AUC is lower; an unknown one is last."""
    names = {"logistic/all": -0.3, "lightgbm/all": -0.4, "lightgbm/recent": None}
    candidates = tuple(
        replace(
            known,
            candidate=replace(known.candidate, measured=loss and Measured("log_loss", loss, 0.01)),
        )
        for number, (name, loss) in enumerate(names.items())
        for known in [made(name, 0.7 + 0.1 * number, **ALONE)]
    )
    for policy, wanted in (
        (Policy(), "lightgbm/recent"),
        (with_promotion(measure="log_loss"), "logistic/all"),
    ):
        found = choose_candidate(candidates, policy)
        assert found is not None
        assert found.recipe == wanted
