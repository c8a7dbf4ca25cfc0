"""Whether a candidate may replace production: every gate has to hold."""

from __future__ import annotations

from closedloop.decisions.against_limit import against
from closedloop.decisions.approval import approval_checks
from closedloop.decisions.candidates import allowed_by_delta
from closedloop.decisions.checks import (
    Action,
    Check,
    Decision,
    Kind,
    Numbers,
    Role,
    all_hold,
    any_trigger,
    make_check,
)
from closedloop.decisions.deciding_measure import MEASURES
from closedloop.decisions.evaluation_rows import (
    is_first_model,
    learnt_checks,
    repeated_checks,
    rows_checks,
    size_check,
)
from closedloop.decisions.evidence import Comparison, Estimate, PromotionEvidence, SliceDelta
from closedloop.decisions.floors import calibration_checks, measure_floors
from closedloop.decisions.more_labels import tell_what_settles
from closedloop.decisions.notes import note_learnt_rows, note_left_out, note_threshold
from closedloop.decisions.policy import Policy
from closedloop.decisions.rarest_class import enough_of_rarest, tell_rarest, tell_wanted
from closedloop.decisions.reference import reference_checks
from closedloop.decisions.shadow import shadow_checks
from closedloop.decisions.single_column import single_column_checks
from closedloop.decisions.taken_back import taken_back_checks


def decide_promotion(evidence: PromotionEvidence, policy: Policy) -> Decision:
    """PROMOTE when every gate holds, otherwise REJECT.

    WAIT when every gate holds and the policy wants a person to approve it.

    ESCALATE when production itself could not be scored, when the rows that judge are mostly old,
    when a column of a first model tells the target by itself, or when the candidate misses a floor
    that no longer tells a bad candidate from bad data: on a window in quarantine or below an AUC
    of 0.5, where production does not reach the floor either.
    """
    if evidence.comparison is None:
        nothing = make_check(
            "candidate was scored", None, Role.GATE, "scores on the evaluation window", "none"
        )
        return Decision(
            Kind.PROMOTION, Action.REJECT, evidence.window.name, (nothing,), evidence.version
        )
    asking = (
        *repeated_checks(evidence.repeated, policy, Role.GATE),
        *single_column_checks(evidence.single_columns, policy),
    )
    floors = measure_floors(evidence, evidence.comparison, policy)
    checks = (
        size_check(evidence.comparison, policy),
        *(floor.check for floor in floors),
        *calibration_checks(evidence.comparison, policy),
        *asking,
        *rows_checks(evidence, evidence.comparison),
        _delta_check(evidence, evidence.comparison, policy),
        *learnt_checks(evidence, evidence.comparison, policy),
        *taken_back_checks(evidence.taken_back),
        *_slice_checks(evidence, evidence.comparison, policy),
        *_serving_checks(evidence, policy),
        *shadow_checks(evidence.shadow, policy.shadow),
        *note_threshold(evidence.comparison),
    )
    unscorable = evidence.production_error and policy.promotion.escalate_unscorable_production
    if all_hold(checks, Role.GATE):
        checks += approval_checks(evidence, evidence.comparison, policy)
        checks += reference_checks(evidence, evidence.comparison, policy)
        action = Action.WAIT if any_trigger(checks) else Action.PROMOTE
    elif (
        unscorable
        or not all_hold(asking, Role.GATE)
        or any(floor.asks_a_person for floor in floors)
    ):
        action = Action.ESCALATE
    else:
        action = Action.REJECT
    return Decision(Kind.PROMOTION, action, evidence.window.name, checks, evidence.version)


def _delta_check(evidence: PromotionEvidence, comparison: Comparison, policy: Policy) -> Check:
    claim = f"delta on {comparison.judged_on}"
    if is_first_model(evidence, comparison):
        return make_check(
            claim,
            True,
            Role.GATE,
            "a production model to compare with",
            "none: this is the first model",
            summary="nothing to compare with: this is the first model",
            headline=True,
        )
    if evidence.production_error:
        # An unscorable production must not block every release for ever: a person decides, or the
        # policy accepts the other gates.
        return make_check(
            claim,
            None if policy.promotion.escalate_unscorable_production else True,
            Role.GATE,
            f"production version {evidence.production} scored on the same rows",
            evidence.production_error,
            summary=f"production version {evidence.production} could not be scored: "
            f"{evidence.production_error}",
            headline=True,
        )
    allowed, delta = allowed_by_delta(comparison, policy), comparison.delta
    return make_check(
        claim,
        allowed,
        Role.GATE,
        _wanted_delta(evidence, comparison, policy),
        "unknown" if delta is None else _show_delta(comparison, delta, policy),
        summary="" if delta is None else _tell_delta(evidence, comparison, delta, policy),
        headline=True,
        numbers=_delta_numbers(comparison, policy),
    )


def _delta_numbers(comparison: Comparison, policy: Policy) -> Numbers:
    return against(comparison.delta, _delta_limit(comparison, policy))


def _delta_limit(comparison: Comparison, policy: Policy) -> float:
    rules = policy.promotion
    return -rules.max_loss if comparison.same_recipe else rules.min_delta


def _show_delta(comparison: Comparison, delta: Estimate, policy: Policy) -> str:
    """The difference, and where it is undecided the labels that would settle it."""
    limit, smallest = _delta_limit(comparison, policy), policy.promotion.min_delta
    rarest = min((label.rows for label in comparison.candidate.classes), default=0)
    told = tell_what_settles(delta, limit, smallest, rarest)
    return f"{delta}; {told}" if told else str(delta)


def _wanted_delta(evidence: PromotionEvidence, comparison: Comparison, policy: Policy) -> str:
    rules = policy.promotion
    if comparison.same_recipe:
        return (
            f"not significantly worse than version {evidence.production}: "
            f"upper bound at least {0 - rules.max_loss:+.4f}"
        )
    return (
        f"significantly better than version {evidence.production}: "
        f"lower bound above {rules.min_delta:+.4f}"
    )


def _tell_delta(
    evidence: PromotionEvidence, comparison: Comparison, delta: Estimate, policy: Policy
) -> str:
    """How the candidate did against production, in plain words."""
    verdict = (
        "worse than"
        if delta.upper < 0
        else "better than"
        if delta.lower > 0
        else "not clearly better or worse than"
    )
    needed = (
        ""
        if comparison.same_recipe or allowed_by_delta(comparison, policy)
        else f"; another recipe must be better by more than {policy.promotion.min_delta:g}"
    )
    measure = MEASURES[policy.promotion.measure].gain
    return f"{verdict} version {evidence.production} on the same rows: {measure} {delta}{needed}"


def _slice_checks(
    evidence: PromotionEvidence, comparison: Comparison, policy: Policy
) -> list[Check]:
    """A protected slice must be known and unharmed; any other slice only informs.

    Intervals come corrected for the number of slices (`metrics.comparison.measure_slices`), so that
    each can be read alone here.
    """
    rules = policy.promotion
    if evidence.production_error or is_first_model(evidence, comparison):
        return []
    checks = []
    for part in comparison.slices:
        delta = part.delta
        enough = part.rows >= rules.min_slice_rows and enough_of_rarest(
            part.rarest, part.groups, rules.min_slice_rows_per_class
        )
        unharmed = delta.upper >= -rules.max_loss if enough and delta is not None else None
        shown = (
            "not measurable"
            if delta is None
            else str(delta)
            if enough
            else f"too few rows to tell: {delta}"
        )
        checks.append(
            make_check(
                f"slice {part.name} is not harmed",
                unharmed,
                Role.GATE if part.protected else Role.NOTE,
                f"not significantly worse on at least {rules.min_slice_rows} rows, "
                f"{tell_wanted(rules.min_slice_rows_per_class, part.groups)}",
                f"{shown}; {part.rows} rows, {tell_rarest(part.rarest, part.groups)}",
                summary=_tell_slice(part, unharmed, MEASURES[rules.measure].gain),
                numbers=against(delta, -rules.max_loss),
            )
        )
    return checks


def _tell_slice(part: SliceDelta, unharmed: bool | None, measure: str) -> str:
    if unharmed is None:
        return (
            f"slice {part.name} has too few rows to judge: {part.rows} rows, "
            f"{tell_rarest(part.rarest, part.groups)}"
        )
    return "" if unharmed else f"worse in slice {part.name}: {measure} {part.delta}"


def _serving_checks(evidence: PromotionEvidence, policy: Policy) -> list[Check]:
    """Golden cases, the packaged model, and two notes: how it is served and what it did not learn
    from."""
    limit, difference = policy.promotion.max_packaging_difference, evidence.packaging_difference
    checks = [
        make_check(
            f"golden case {case.name}",
            case.passed,
            Role.GATE,
            case.wanted,
            case.got,
            summary=""
            if case.passed
            else f"golden case {case.name} failed: wanted {case.wanted}, got {case.got}",
        )
        for case in evidence.golden
    ]
    checks.append(
        make_check(
            "packaged model answers like the fitted one",
            None if difference is None else difference <= limit,
            Role.GATE,
            f"probabilities within {limit:g}",
            "not tried" if difference is None else f"{difference:.2g}",
            numbers=Numbers(difference, limit),
        )
    )
    if evidence.served_by:
        reason = f": {evidence.served_reason}" if evidence.served_reason else ""
        checks.append(
            make_check(
                "served as ONNX",
                evidence.served_by == "onnx",
                Role.NOTE,
                "the proved ONNX model",
                evidence.served_by + reason,
            )
        )
    checks += [*note_left_out(evidence), *note_learnt_rows(evidence)]
    if evidence.quarantined and not evidence.left_out:
        checks.append(
            make_check(
                "quarantined windows",
                True,
                Role.NOTE,
                "kept out of training",
                ", ".join(evidence.quarantined),
            )
        )
    return checks
