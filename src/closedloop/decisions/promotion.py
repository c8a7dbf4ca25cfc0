"""Which candidate to choose, and whether it may replace production: every gate has to hold."""

from __future__ import annotations

from closedloop.decisions.checks import Action, Check, Decision, Kind, Role, all_hold, make_check
from closedloop.decisions.evidence import Comparison, PromotionEvidence
from closedloop.decisions.policy import Policy


def _allowed_by_delta(comparison: Comparison, policy: Policy) -> bool | None:
    """Not significantly worse for production's own recipe, significantly better for another; None
    when unmeasured."""
    if comparison.delta is None:
        return None
    if comparison.same_recipe:
        return comparison.delta.upper >= -policy.promotion.max_loss
    return comparison.delta.lower > policy.promotion.min_delta


def choose_candidate(comparisons: tuple[Comparison, ...], policy: Policy) -> Comparison | None:
    """The best candidate that its own delta rule lets through; failing that production's recipe,
    failing that the best.

    All comparisons are on the same rows; on weighted history a candidate counts for
    `min_recent_gain` less. None when nothing was compared.
    """

    def rank(one: Comparison) -> tuple[float, str]:
        handicap = policy.promotion.min_recent_gain if one.recipe.endswith("/recent") else 0.0
        return handicap - (one.candidate.val_auc or 0.0), one.recipe

    ranked = sorted(comparisons, key=rank)
    for one in ranked:
        if one.production is None or _allowed_by_delta(one, policy):
            return one
    return next((one for one in ranked if one.same_recipe), ranked[0] if ranked else None)


def decide_promotion(evidence: PromotionEvidence, policy: Policy) -> Decision:
    """PROMOTE when every gate holds, ESCALATE when production itself could not be scored, otherwise
    REJECT."""
    rules, comparison = policy.promotion, evidence.comparison
    if comparison is None:
        nothing = make_check(
            "candidate was scored", None, Role.GATE, "scores on the evaluation window", "none"
        )
        return Decision(
            Kind.PROMOTION, Action.REJECT, evidence.window.name, (nothing,), evidence.version
        )
    scores = comparison.candidate
    rarest = min((one.rows for one in scores.classes), default=0)
    auc, live, base = scores.val_auc, comparison.production, comparison.baseline_auc
    checks = [
        make_check(
            "enough evaluation rows",
            scores.rows >= rules.min_rows and rarest >= rules.min_rows_per_class,
            Role.GATE,
            f"{rules.min_rows} rows, {rules.min_rows_per_class} of each class",
            f"{scores.rows} rows, {rarest} of the rarest class",
        ),
        _floor_check("val_auc", auc, live.val_auc if live else None, rules.min_val_auc),
        _floor_check("F1", scores.f1, live.f1 if live else None, rules.min_f1),
        _floor_check(
            "better than the trivial baseline",
            None if auc is None else auc - base,
            None if live is None or live.val_auc is None else live.val_auc - base,
            rules.min_gain_over_baseline,
            f" over {base:.4f}",
        ),
        *_rows_checks(evidence, comparison),
        _delta_check(evidence, comparison, policy),
        *_slice_checks(evidence, comparison, policy),
        *(
            make_check(f"golden case {one.name}", one.passed, Role.GATE, one.wanted, one.got)
            for one in evidence.golden
        ),
        make_check(
            "packaged model answers like the fitted one",
            None
            if evidence.packaging_difference is None
            else evidence.packaging_difference <= rules.max_packaging_difference,
            Role.GATE,
            f"within {rules.max_packaging_difference:g}",
            "not tried"
            if evidence.packaging_difference is None
            else f"{evidence.packaging_difference:.2g}",
        ),
    ]
    if evidence.served_by:
        got = (
            f"{evidence.served_by}: {evidence.served_reason}"
            if evidence.served_reason
            else evidence.served_by
        )
        checks.append(
            make_check(
                "served as ONNX",
                evidence.served_by == "onnx",
                Role.NOTE,
                "the proved ONNX model",
                got,
            )
        )
    if evidence.quarantined:
        checks.append(
            make_check(
                "quarantined windows",
                True,
                Role.NOTE,
                "kept out of training",
                ", ".join(evidence.quarantined),
            )
        )
    if all_hold(checks, Role.GATE):
        action = Action.PROMOTE
    elif evidence.production_error and rules.escalate_unscorable_production:
        action = Action.ESCALATE
    else:
        action = Action.REJECT
    return Decision(Kind.PROMOTION, action, evidence.window.name, tuple(checks), evidence.version)


def _floor_check(
    claim: str, value: float | None, production: float | None, floor: float, over: str = ""
) -> Check:
    """A floor keeps bad models out; it is no reason to keep a worse one in, so it binds no better
    than production holds it itself."""
    below = production is not None and production < floor
    wanted = f"at least {floor:.3f}{over}" + (
        f", which production misses too with {production:.4f}" if below else ""
    )
    return make_check(
        claim,
        None if value is None else below or value >= floor,
        Role.GATE,
        wanted,
        "unknown" if value is None else f"{value:.4f}",
    )


def _is_first_model(evidence: PromotionEvidence, comparison: Comparison) -> bool:
    """Nothing is in production, by every part of the evidence; a version that merely is not named,
    or failed, is not nothing."""
    return (
        evidence.production is None
        and comparison.production is None
        and not evidence.production_error
    )


def _rows_checks(evidence: PromotionEvidence, comparison: Comparison) -> list[Check]:
    """A part of the window that the candidate learns from shares that window's faults: it can judge
    the first model only."""
    if not comparison.held_out:
        return []
    role = Role.NOTE if _is_first_model(evidence, comparison) else Role.GATE
    return [
        make_check(
            "evaluation rows are newer than the training rows",
            False,
            role,
            "a newer labelled window, unless it is the first model",
            f"a held-out part of {comparison.window}",
        )
    ]


def _delta_check(evidence: PromotionEvidence, comparison: Comparison, policy: Policy) -> Check:
    rules = policy.promotion
    claim = f"delta on {comparison.window}"
    if _is_first_model(evidence, comparison):
        return make_check(
            claim,
            True,
            Role.GATE,
            "a production model to compare with",
            "none: this is the first model",
        )
    if evidence.production_error:
        # An unscorable production must not block every release for ever: a person decides, or the
        # policy accepts the other gates.
        accepted = None if rules.escalate_unscorable_production else True
        return make_check(
            claim,
            accepted,
            Role.GATE,
            f"production version {evidence.production} scored on the same rows",
            evidence.production_error,
        )
    if comparison.same_recipe:
        wanted = f"not significantly worse than version {evidence.production}: upper bound at least {0 - rules.max_loss:+.4f}"
    else:
        wanted = f"significantly better than version {evidence.production}: lower bound over {rules.min_delta:+.4f}"
    return make_check(
        claim,
        _allowed_by_delta(comparison, policy),
        Role.GATE,
        wanted,
        "unknown" if comparison.delta is None else str(comparison.delta),
    )


def _slice_checks(
    evidence: PromotionEvidence, comparison: Comparison, policy: Policy
) -> list[Check]:
    """A protected slice must be known and unharmed; any other slice only informs, whatever it
    shows.

    Intervals come corrected for the number of slices (`scoring.measure_slices`), so that each can
    be read alone here.
    """
    rules = policy.promotion
    if evidence.production_error or _is_first_model(evidence, comparison):
        return []
    checks = []
    for one in comparison.slices:
        enough = one.rows >= rules.min_slice_rows and one.rarest >= rules.min_slice_rows_per_class
        unharmed = one.delta.upper >= -rules.max_loss if enough and one.delta is not None else None
        shown = (
            "not measurable"
            if one.delta is None
            else str(one.delta)
            if enough
            else f"too few to tell: {one.delta}"
        )
        checks.append(
            make_check(
                f"slice {one.name} is not harmed",
                unharmed,
                Role.GATE if one.protected else Role.NOTE,
                f"not significantly worse on at least {rules.min_slice_rows} rows, {rules.min_slice_rows_per_class} of each class",
                f"{shown}; {one.rows} rows, {one.rarest} of the rarest class",
            )
        )
    return checks
