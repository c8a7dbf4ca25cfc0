"""When a person is asked: which candidates that pass every gate wait, and how long."""

from __future__ import annotations

from collections.abc import Iterator

from closedloop.decisions.against_limit import against
from closedloop.decisions.checks import Check, Numbers, Role, make_check
from closedloop.decisions.deciding_measure import MEASURES
from closedloop.decisions.evaluation_rows import is_first_model
from closedloop.decisions.evidence import Comparison, LoopState, PromotionEvidence, SliceDelta
from closedloop.decisions.policy import Policy
from closedloop.decisions.rarest_class import enough_of_rarest, tell_rarest

EVERY_PROMOTION = "every promotion is approved by a person"


def approval_checks(
    evidence: PromotionEvidence, comparison: Comparison, policy: Policy
) -> tuple[Check, ...]:
    """The triggers that ask a person about a candidate for which every gate holds.

    With `borderline` a first model asks nobody: there is nothing that it could be worse than.
    """
    asked = policy.promotion.approval
    if asked == "always":
        told = 'a person is asked: approval = "always"'
        return (
            make_check(
                EVERY_PROMOTION, True, Role.TRIGGER, "as in the policy", asked, summary=told
            ),
        )
    if asked == "never" or is_first_model(evidence, comparison):
        return ()
    return (
        _gain_check(evidence, comparison, policy),
        _recipe_check(evidence, comparison),
        *_slice_checks(evidence, comparison, policy),
    )


def _gain_check(evidence: PromotionEvidence, comparison: Comparison, policy: Policy) -> Check:
    """Not measured is not clear: production that cannot be scored asks a person."""
    limit, delta = policy.promotion.approval_min_delta, comparison.delta
    clear = delta is not None and delta.lower >= limit
    if delta is None:
        got, told = "not measured", f"the gain over version {evidence.production} is not known"
    else:
        gain = MEASURES[policy.promotion.measure].gain
        got = str(delta)
        told = (
            f"the gain over version {evidence.production} is not clear: the lower bound of {gain} "
            f"{delta} is below {limit:+.4f}"
        )
    return make_check(
        "the gain is not clear",
        not clear,
        Role.TRIGGER,
        f"lower bound of delta below {limit:+.4f}",
        got,
        summary="" if clear else f"a person is asked: {told}",
        numbers=against(delta, limit),
    )


def _recipe_check(evidence: PromotionEvidence, comparison: Comparison) -> Check:
    other = not comparison.same_recipe
    told = f"{comparison.recipe} is another recipe than that of version {evidence.production}"
    return make_check(
        "another recipe than production's",
        other,
        Role.TRIGGER,
        "another recipe",
        comparison.recipe if other else f"{comparison.recipe}, the same",
        summary=f"a person is asked: {told}" if other else "",
    )


def _slice_checks(
    evidence: PromotionEvidence, comparison: Comparison, policy: Policy
) -> Iterator[Check]:
    """Protected slices whose rows are barely enough to tell whether they are harmed."""
    for part in comparison.slices:
        if part.protected and not evidence.production_error:
            yield _slice_check(part, policy)


def _slice_check(part: SliceDelta, policy: Policy) -> Check:
    rules = policy.promotion
    rows, rarest = rules.approval_min_slice_rows, rules.approval_min_slice_rows_per_class
    barely = part.rows < rows or not enough_of_rarest(part.rarest, part.groups, rarest)
    counted = f"{part.rows} rows, {tell_rarest(part.rarest, part.groups)}"
    return make_check(
        f"slice {part.name} is only just known",
        barely,
        Role.TRIGGER,
        f"fewer than {rows} rows, or {rarest} of a class",
        counted,
        summary=f"a person is asked: slice {part.name} is only just known: {counted}"
        if barely
        else "",
        numbers=Numbers(part.rows, rows),
    )


def waiting_checks(state: LoopState) -> list[Check]:
    """While a candidate waits for a person, the loop trains no other; empty without one."""
    if state.waiting is None:
        return []
    told = f"decision {state.waiting} waits for a person"
    return [
        make_check(
            "no candidate waits for a person",
            False,
            Role.GUARD,
            "none",
            told,
            summary=f"{told}: closedloop approve {state.waiting} or reject it",
        )
    ]


def windows_left(waited: int, policy: Policy) -> int:
    """How many windows may still come before a candidate expires that has `waited` this many.

    Negative once it has expired.
    """
    return policy.promotion.approval_windows - waited
