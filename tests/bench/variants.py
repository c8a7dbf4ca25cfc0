"""The default policy with one part of it changed: what that part earns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from closedloop.backtest.policies import Brain
from closedloop.decisions.policy import Policy

# No trigger but the one that is measured, and nothing that holds it back.
_ALONE: dict[str, Any] = {
    "gain_trigger": False,
    "drift_trigger": False,
    "auc_loss_trigger": False,
    "age_trigger": False,
    "cooldown_windows": 0,
    "budget_trainings": 8,
    "once_an_episode": False,
}
_RETRAINING: dict[str, dict[str, Any]] = {
    "without gain": {"gain_trigger": False},
    "without drift": {"drift_trigger": False},
    "without loss": {"auc_loss_trigger": False},
    "without age": {"age_trigger": False},
    "age alone": {**_ALONE, "age_trigger": True, "cooldown_windows": 1, "budget_trainings": 4},
    "loss alone": {**_ALONE, "auc_loss_trigger": True},
}
COSTS = (0.01, 0.02, 0.03, 0.05)


def make_variants(policy: Policy) -> Iterator[Brain]:
    """The loop with each trigger switched off, with one alone, and with dearer trainings."""
    retraining = {
        **_RETRAINING,
        **{f"cost {cost:g}": {"cost": cost} for cost in COSTS},
    }
    for name, changed in retraining.items():
        rules = replace(policy.retraining, **changed)
        yield Brain(name, replace(policy, retraining=rules))
    rollback = replace(policy.rollback, enabled=False)
    yield Brain("without rollback", replace(policy, rollback=rollback))
    quarantine = replace(policy.quarantine, max_auc_drop=1, max_odds_ratio=1e9)
    yield Brain("without quarantine", replace(policy, quarantine=quarantine))


def choose_variants(policy: Policy, names: Sequence[str] | None) -> list[Brain]:
    """Those of the names; all for an empty list, none for None. Raises KeyError for another."""
    if names is None:
        return []
    known = {brain.name: brain for brain in make_variants(policy)}
    return [known[name] for name in names or known]
