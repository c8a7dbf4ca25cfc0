"""The policy checks itself when it is built and tells itself apart from any other."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace

import pytest

from closedloop.decisions.drift_policy import DriftPolicy
from closedloop.decisions.policy import (
    Policy,
    PromotionPolicy,
    RetrainingPolicy,
)
from closedloop.decisions.quarantine_policy import QuarantinePolicy
from closedloop.decisions.rollback_policy import RollbackPolicy

KINDS = [DriftPolicy, RetrainingPolicy, PromotionPolicy, RollbackPolicy, QuarantinePolicy]
NUMBERS = [
    (kind, field.name)
    for kind in KINDS
    for field in fields(kind)
    if isinstance(field.default, (int, float)) and not isinstance(field.default, bool)
]


def _ids(case: tuple[type, str]) -> str:
    return f"{case[0].__name__}.{case[1]}"


@pytest.mark.parametrize("case", NUMBERS, ids=_ids)
@pytest.mark.parametrize("value", [-1, 2e9, float("nan"), float("inf")])
def test_a_number_out_of_its_bounds_is_refused_by_name(
    case: tuple[type, str], value: float
) -> None:
    """Every number of the policy has bounds, and the refusal names the number."""
    kind, name = case
    with pytest.raises(ValueError, match=rf"^{name} must be between .* got "):
        kind(**{name: value})


def test_the_refusal_says_what_was_wanted_and_what_came() -> None:
    """The text of a refused number can be obeyed as it stands."""
    with pytest.raises(ValueError, match=r"^max_drift_share must be between 0 and 1, got 1\.5$"):
        RetrainingPolicy(max_drift_share=1.5)


def test_more_windows_cannot_be_needed_than_are_remembered() -> None:
    """A trigger that could never fire is refused."""
    with pytest.raises(ValueError, match="needed_windows must be between 1 and 2, got 3"):
        RetrainingPolicy(needed_windows=3, memory_windows=2)


def test_the_budget_cannot_exceed_its_windows() -> None:
    """A budget that allows more than a training a window is no budget, and refused."""
    with pytest.raises(ValueError, match="budget_trainings must be between 1 and 3, got 4"):
        RetrainingPolicy(budget_trainings=4, budget_windows=3)


def test_equal_policies_share_a_fingerprint() -> None:
    """Two policies built apart with the same numbers cannot be told apart, and twelve hex digits
    name them."""
    usual, other = Policy(), Policy(retraining=RetrainingPolicy(max_drift_share=0.3))
    assert usual.fingerprint == other.fingerprint
    assert len(usual.fingerprint) == 12
    assert set(usual.fingerprint) <= set("0123456789abcdef")


def test_any_changed_number_changes_the_fingerprint() -> None:
    """No number is left out of the fingerprint: each one alone, changed, gives a new one."""
    prints = {Policy().fingerprint}
    changed = 0
    for part in fields(Policy):
        rules = getattr(Policy(), part.name)
        for field in fields(rules):
            value = getattr(rules, field.name)
            if not isinstance(value, (int, float)):
                continue  # the measure and its costs, below
            # Halving stays within the bounds of every number but the memory of one window, which is
            # doubled with what depends on it.
            other = (
                not value
                if isinstance(value, bool)
                else value + 1
                if field.name in ("memory_windows", "cooldown_windows", "max_evaluation_windows")
                else None
            )
            if other is None:
                other = {"needed_windows": 1, "probation_windows": 3, "confidence": 0.9}.get(
                    field.name, value / 2 if value else 0.5
                )
            if other != value:
                prints.add(
                    replace(
                        Policy(), **{part.name: replace(rules, **{field.name: other})}
                    ).fingerprint
                )
                changed += 1
    for other in (PromotionPolicy(measure="brier"), PromotionPolicy(cost=((0, 1), (5, 0)))):
        prints.add(Policy(promotion=other).fingerprint)
        changed += 1
    assert changed > 30
    assert len(prints) == changed + 1


@pytest.mark.parametrize(
    "reference",
    [
        *("season:1", "season:0", "season:-12", "season:1001", "season:1000000000", "season:1e9"),
        *("season:abc", "season:", "season", "season:12.0", "season: 12", "season:012"),
        *("season:\u0661\u0662", "Season:12", "season:12\n", "", "last year", "previous:1"),
    ],
)
def test_a_reference_that_is_none_is_refused(reference: str) -> None:
    """A season has 2 to 1,000 windows, as a plain number; the refusal says what there is."""
    wanted = r'^reference must be "training", "previous" or "season:N" .* 2 to 1000, got "'
    with pytest.raises(ValueError, match=wanted):
        DriftPolicy(reference=reference)


def test_a_season_knows_its_windows() -> None:
    """The number behind the colon; other references are no season, and the default is none."""
    found = {
        reference: DriftPolicy(reference=reference).season
        for reference in ("training", "previous", "season:2", "season:12", "season:1000")
    }
    assert list(found.values()) == [None, None, 2, 12, 1000]
    assert DriftPolicy().reference == "training"
    references = {Policy(drift=DriftPolicy(reference=name)).fingerprint for name in found}
    assert len(references) == len(found)
    assert Policy().fingerprint in references


def test_limits_of_a_loss_may_be_larger_than_one() -> None:
    """A cost or a log loss has no largest value; AUC and the others have."""
    costly = PromotionPolicy(measure="cost", cost=((0, 1), (5, 0)), max_loss=20.0)
    assert Policy(retraining=RetrainingPolicy(max_auc_loss=3.0), promotion=costly)
    for measure, most in (("roc_auc", 1), ("brier", 2)):
        with pytest.raises(ValueError, match=f"max_loss must be between 0 and {most}"):
            Policy(promotion=PromotionPolicy(measure=measure, max_loss=2.5))  # type: ignore[arg-type]


def test_a_policy_cannot_be_changed_after_it_was_built() -> None:
    """The policy that decided is the policy that was fingerprinted."""
    with pytest.raises(FrozenInstanceError):
        Policy().retraining.max_drift_share = 0.9  # type: ignore[misc]
