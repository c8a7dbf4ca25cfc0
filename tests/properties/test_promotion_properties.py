"""What holds of `decide_promotion` and `choose_candidate` whatever the evidence and the policy."""

from __future__ import annotations

from dataclasses import fields, replace
from random import Random

from hypothesis import event, given
from hypothesis import strategies as st

from closedloop.decisions.candidates import choose_candidate
from closedloop.decisions.checks import Action, Outcome, Role
from closedloop.decisions.evidence import Comparison, Estimate, PromotionEvidence, Scores
from closedloop.decisions.policy import Policy, PromotionPolicy
from closedloop.decisions.promotion import decide_promotion
from tests.properties.evidence_strategies import comparisons, policies, promotion_evidence

# An easy policy, so that half-way good evidence is promoted often enough for a property to bite.
EASY = Policy(
    promotion=PromotionPolicy(
        min_rows=1,
        min_rows_per_class=1,
        min_val_auc=0,
        min_f1=0,
        min_gain_over_baseline=0,
        min_slice_rows=1,
        min_slice_rows_per_class=1,
    )
)
easy_or_any = st.just(EASY) | policies


def _promotes(evidence: PromotionEvidence, policy: Policy) -> bool:
    return decide_promotion(evidence, policy).action is Action.PROMOTE


def _shifted(estimate: Estimate | None, by: float) -> Estimate | None:
    return estimate and replace(
        estimate, value=estimate.value + by, lower=estimate.lower + by, upper=estimate.upper + by
    )


def _better_scores(scores: Scores, auc: float, f1: float, rows: int) -> Scores:
    classes = tuple(
        replace(part, f1=min(1.0, part.f1 + f1), rows=part.rows + rows) for part in scores.classes
    )
    return replace(
        scores,
        rows=scores.rows + rows,
        val_auc=None if scores.val_auc is None else min(1.0, scores.val_auc + auc),
        classes=classes,
    )


def _better(evidence: PromotionEvidence, data: st.DataObject) -> PromotionEvidence:
    """The same evidence with any of its parts better, none worse."""
    gain, more = st.just(0.0) | st.floats(0, 0.3), st.integers(0, 500)
    comparison = evidence.comparison
    if comparison is not None:
        comparison = replace(
            comparison,
            candidate=_better_scores(
                comparison.candidate, data.draw(gain), data.draw(gain), data.draw(more)
            ),
            delta=_shifted(comparison.delta, data.draw(gain)),
            baseline_auc=comparison.baseline_auc - data.draw(gain),
            slices=tuple(
                replace(
                    part,
                    rows=part.rows + extra,
                    rarest=part.rarest + extra // 3,
                    groups=None if part.groups is None else part.groups + extra // 3,
                    delta=_shifted(part.delta, data.draw(gain)),
                )
                for part, extra in [(part, data.draw(more)) for part in comparison.slices]
            ),
        )
    difference = evidence.packaging_difference
    return replace(
        evidence,
        comparison=comparison,
        packaging_difference=None
        if difference is None
        else difference * data.draw(st.floats(0, 1)),
        golden=tuple(
            replace(case, passed=case.passed or data.draw(st.booleans()))
            for case in evidence.golden
        ),
    )


@given(promotion_evidence(), easy_or_any, st.data())
def test_better_evidence_never_turns_a_promotion_into_a_rejection(
    evidence: PromotionEvidence, policy: Policy, data: st.DataObject
) -> None:
    """What was good enough stays good enough when a delta, score, row count, slice, golden case or
    package gets better."""
    promoted = _promotes(evidence, policy)
    event(f"promoted: {promoted}")
    if promoted:
        assert _promotes(_better(evidence, data), policy)


ASKING = ("never", "borderline", "always")
# Each number of the policy, and how it is made stricter by a random amount; `confidence` widens the
# intervals before they come here.
STRICTER = {
    "confidence": lambda value, by: value,
    "min_delta": lambda value, by: min(1.0, value + by),
    "max_loss": lambda value, by: value * (1 - by),
    "min_recent_gain": lambda value, by: value,  # chooses among candidates, before the gates
    "min_newest_gain": lambda value, by: value,  # the same
    "min_rows": lambda value, by: value + round(1000 * by),
    "min_rows_per_class": lambda value, by: value + round(100 * by),
    "min_val_auc": lambda value, by: min(1.0, value + by),
    "measure": lambda value, by: value,  # what the numbers are measured in
    "cost": lambda value, by: value,
    "max_calibration_error": lambda value, by: value * (1 - by),
    "min_f1_per_class": lambda value, by: min(1.0, value + by),
    "min_f1": lambda value, by: min(1.0, value + by),
    "min_gain_over_baseline": lambda value, by: min(1.0, value + by),
    "min_slice_rows": lambda value, by: value + round(300 * by),
    "min_slice_rows_per_class": lambda value, by: value + round(30 * by),
    "max_packaging_difference": lambda value, by: value * (1 - by),
    "escalate_unscorable_production": lambda value, by: value or by > 0.5,
    "max_repeated_share": lambda value, by: value * (1 - by),
    "max_single_column_auc": lambda value, by: value * (1 - by),
    "max_evaluation_windows": lambda value, by: value,  # which rows judge, before the gates
    "approval": lambda value, by: ASKING[max(ASKING.index(value), round(2 * by))],
    "approval_windows": lambda value, by: value,  # how long, after the gates
    "approval_min_delta": lambda value, by: min(1.0, value + by),
    "approval_min_slice_rows": lambda value, by: value + round(300 * by),
    "approval_min_slice_rows_per_class": lambda value, by: value + round(30 * by),
}


def test_every_number_of_the_promotion_policy_knows_its_strict_direction() -> None:
    """A new number cannot be added to the promotion policy without saying here which way is
    stricter."""
    assert set(STRICTER) == {field.name for field in fields(PromotionPolicy)}


@given(promotion_evidence(), easy_or_any, st.data())
def test_a_stricter_policy_never_promotes_more(
    evidence: PromotionEvidence, policy: Policy, data: st.DataObject
) -> None:
    """What a stricter policy promotes, the laxer one promotes too."""
    names = data.draw(st.sets(st.sampled_from(sorted(STRICTER)), min_size=1))
    moved = {
        name: STRICTER[name](getattr(policy.promotion, name), data.draw(st.floats(0, 1)))
        for name in sorted(names)
    }
    if _promotes(evidence, replace(policy, promotion=replace(policy.promotion, **moved))):
        assert _promotes(evidence, policy), moved


def _blanked(evidence: PromotionEvidence, parts: set[str]) -> PromotionEvidence:
    comparison = evidence.comparison
    if comparison is not None:
        if "val_auc" in parts:
            comparison = replace(comparison, candidate=replace(comparison.candidate, val_auc=None))
        if "production scores" in parts:
            comparison = replace(comparison, production=None)
        if "delta" in parts:
            comparison = replace(comparison, delta=None)
        if "slices" in parts:
            comparison = replace(
                comparison, slices=tuple(replace(part, delta=None) for part in comparison.slices)
            )
    return replace(
        evidence,
        comparison=None if "comparison" in parts else comparison,
        production=None if "production" in parts else evidence.production,
        packaging_difference=None if "package" in parts else evidence.packaging_difference,
    )


PARTS = ["comparison", "val_auc", "production scores", "delta", "slices", "production", "package"]


# Without a version and without its scores nothing is in production: that is a fact and no blank.
some_parts = st.sets(st.sampled_from(PARTS), min_size=1).filter(
    lambda parts: not {"production", "production scores"} <= parts
)


@given(promotion_evidence("scored"), easy_or_any, some_parts)
def test_a_blank_never_opens_a_gate(
    evidence: PromotionEvidence, policy: Policy, parts: set[str]
) -> None:
    """Evidence with any of its parts unknown is promoted only if the full evidence is, and never
    without its delta or package."""
    if _promotes(_blanked(evidence, parts), policy):
        assert _promotes(evidence, policy), parts
        assert not parts & {"comparison", "val_auc", "delta", "package"}


@given(
    promotion_evidence("failed"),
    easy_or_any,
    st.sampled_from(["comparison", "val_auc", "slices", "production", "package"]),
)
def test_a_blank_beside_a_failed_production_never_opens_a_gate(
    evidence: PromotionEvidence, policy: Policy, part: str
) -> None:
    """When production could not be scored, a further blank does not open what was closed."""
    if _promotes(_blanked(evidence, {part}), policy):
        assert _promotes(evidence, policy), part


def _swapped(evidence: PromotionEvidence) -> PromotionEvidence:
    comparison = evidence.comparison
    assert comparison is not None
    assert comparison.production is not None

    def mirrored(estimate: Estimate | None) -> Estimate | None:
        return estimate and Estimate(
            -estimate.value, -estimate.upper, -estimate.lower, estimate.rows
        )

    turned = replace(
        comparison,
        candidate=comparison.production,
        production=comparison.candidate,
        delta=mirrored(comparison.delta),
        slices=tuple(replace(part, delta=mirrored(part.delta)) for part in comparison.slices),
    )
    return replace(
        evidence, comparison=turned, version=evidence.production, production=evidence.version
    )


@given(promotion_evidence("scored"), easy_or_any)
def test_two_recipes_never_replace_each_other_on_the_same_rows(
    evidence: PromotionEvidence, policy: Policy
) -> None:
    """Of two different recipes at most one is promoted over the other: the loop cannot go round in
    circles on one window."""
    if evidence.comparison is not None:
        other = replace(evidence, comparison=replace(evidence.comparison, same_recipe=False))
        assert not (_promotes(other, policy) and _promotes(_swapped(other), policy))


@given(promotion_evidence("scored"), easy_or_any)
def test_a_slice_that_is_not_protected_decides_nothing(
    evidence: PromotionEvidence, policy: Policy
) -> None:
    """With and without the slices that only inform, harmed, unknown or well, the action is the
    same."""
    if evidence.comparison is not None:
        protected = tuple(part for part in evidence.comparison.slices if part.protected)
        without = replace(evidence, comparison=replace(evidence.comparison, slices=protected))
        assert decide_promotion(without, policy).action is decide_promotion(evidence, policy).action


@given(promotion_evidence("scored"), easy_or_any)
def test_a_protected_slice_that_is_harmed_or_unknown_is_never_promoted_over(
    evidence: PromotionEvidence, policy: Policy
) -> None:
    """PROMOTE with a production model means that each protected slice was large enough, measured,
    and not surely worse."""
    if evidence.comparison is not None and _promotes(evidence, policy):
        rules = policy.promotion
        for part in [known for known in evidence.comparison.slices if known.protected]:
            assert part.rows >= rules.min_slice_rows
            assert part.rarest >= rules.min_slice_rows_per_class
            assert part.groups is None or part.groups >= rules.min_slice_rows_per_class
            assert part.delta is not None
            assert part.delta.upper >= -rules.max_loss


@given(promotion_evidence(), policies)
def test_promote_means_that_every_gate_holds(evidence: PromotionEvidence, policy: Policy) -> None:
    """PROMOTE and a gate that fails or is unknown never stand in one decision; without PROMOTE one
    gate is closed."""
    decision = decide_promotion(evidence, policy)
    closed = [
        check
        for check in decision.checks
        if check.role is Role.GATE and check.outcome is not Outcome.HOLDS
    ]
    assert (decision.action is Action.PROMOTE) == (not closed)
    assert decision.reason


@given(st.lists(comparisons(), max_size=4), policies, st.randoms())
def test_the_chosen_candidate_does_not_depend_on_the_order(
    found: list[Comparison], policy: Policy, random: Random
) -> None:
    """The same candidates in another order send the same recipe before the gate, and always one of
    them."""
    named = [
        replace(candidate, recipe=f"recipe_{number}") for number, candidate in enumerate(found)
    ]
    mixed = list(named)
    random.shuffle(mixed)
    chosen = choose_candidate(tuple(named), policy)
    assert chosen == choose_candidate(tuple(mixed), policy)
    assert chosen in named if named else chosen is None
