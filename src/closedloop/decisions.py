"""`decision = decide(evidence, policy)`: the four judgements of the loop.

Pure: no clock, no randomness, no I/O. A check is one claim that holds, fails or is unknown; unknown never opens a gate.
"""

from __future__ import annotations

from closedloop.checks import Action, Check, Decision, Kind, Outcome, Role
from closedloop.evidence import Comparison, Estimate, LoopState, PromotionEvidence, RetrainingEvidence, RollbackEvidence
from closedloop.policy import Policy, QuarantinePolicy

DRIFT_OVER = "drift_share over its limit"


def _check(claim: str, holds: bool | None, role: Role, wanted: str, got: str) -> Check:
    outcome = Outcome.UNKNOWN if holds is None else Outcome.HOLDS if holds else Outcome.FAILS
    return Check(claim, outcome, role, wanted, got)


def _all_hold(checks: list[Check], role: Role) -> bool:
    return all(check.outcome is Outcome.HOLDS for check in checks if check.role is role)


def drift_over_limit(evidence: RetrainingEvidence, policy: Policy) -> bool | None:
    """Did this window's drift_share pass its limit? None when it was not measured."""
    share = evidence.drift.drift_share if evidence.drift else None
    return None if share is None else share > policy.retraining.max_drift_share


def auc_loss(evidence: RetrainingEvidence) -> float | None:
    """What production was promoted with minus what it realised on this window; None without labels or production."""
    expected, realised = evidence.state.expected_auc, evidence.realised_auc
    return None if expected is None or realised is None else expected - realised.value


def loss_over_limit(evidence: RetrainingEvidence, policy: Policy) -> bool | None:
    """Is the AUC loss over its limit and beyond its confidence interval? None when it was not measured."""
    loss, realised = auc_loss(evidence), evidence.realised_auc
    if loss is None or realised is None or evidence.state.expected_auc is None:
        return None
    return loss > policy.retraining.max_auc_loss and realised.upper < evidence.state.expected_auc


def _remembered(marks: tuple[bool, ...], now: bool | None, policy: Policy) -> bool | None:
    """n of the last m windows, the current one among the n."""
    if now is None:
        return None
    recent = (*marks, now)[-policy.retraining.memory_windows :]
    return now and sum(recent) >= policy.retraining.needed_windows


def tried_in_episode(state: LoopState) -> int | None:
    """Index of the newest retraining of this drift episode that left production, and so the reference, as it was; None without one.

    An episode is a run of windows whose drift_share is over its limit; a promotion moves the reference and begins a new one.
    """
    if state.drifting_since is None:
        return None
    moved = -1 if state.promoted_at is None else state.promoted_at
    return max((index for index in state.trained_at if index >= state.drifting_since and index > moved), default=None)


def decide_retraining(evidence: RetrainingEvidence, policy: Policy) -> Decision:
    """ESCALATE a broken window, RETRAIN when a trigger fired and every guard allows it, otherwise KEEP."""
    window, state, rules = evidence.window, evidence.state, policy.retraining
    if evidence.violations:
        broken = tuple(
            Check(f"{violation.column} keeps the contract ({violation.rule})", Outcome.FAILS, Role.GUARD, violation.wanted, violation.got)
            for violation in evidence.violations
        )
        return Decision(Kind.RETRAINING, Action.ESCALATE, window.name, broken, state.production)

    memory = "" if rules.memory_windows == 1 else f" in {rules.needed_windows} of the last {rules.memory_windows} windows"
    checks = [
        _check("no production model", state.production is None, Role.TRIGGER, "none yet",
               "nothing promoted yet" if state.production is None else f"version {state.production}"),
        _check("asked for by a person", evidence.requested, Role.TRIGGER, "a request", "yes" if evidence.requested else "no"),
    ]  # fmt: skip
    if evidence.production_error:
        checks.append(_check("production cannot be scored", True, Role.TRIGGER, "an answer from production", evidence.production_error))
    if state.production is not None and rules.drift_trigger:
        share = evidence.drift.drift_share if evidence.drift else None
        names = ", ".join(evidence.drift.drifted_columns[:5]) if evidence.drift else ""
        checks.append(
            _check(
                DRIFT_OVER,
                _remembered(state.drift_marks, drift_over_limit(evidence, policy), policy),
                Role.TRIGGER,
                f"over {rules.max_drift_share:.2f}{memory}",
                "not measured" if share is None else f"{share:.2f}" + (f" ({names})" if names else ""),
            )
        )
    if state.production is not None and rules.auc_loss_trigger:
        loss = auc_loss(evidence)
        checks.append(
            _check(
                "realised AUC lost more than its limit",
                _remembered(state.loss_marks, loss_over_limit(evidence, policy), policy),
                Role.TRIGGER,
                f"a significant loss over {rules.max_auc_loss:.3f}{memory}",
                "not measured" if loss is None else f"{loss:+.4f}",
            )
        )
    if state.production is not None and rules.age_trigger:
        age = None if state.trained_through is None else window.index - state.trained_through
        checks.append(
            _check("production is old", None if age is None else age >= rules.max_age_windows, Role.TRIGGER,
                   f"{rules.max_age_windows} windows", "unknown" if age is None else f"{age} windows")
        )  # fmt: skip

    asking = [check.claim for check in checks if check.outcome is Outcome.HOLDS]
    if rules.once_an_episode and asking == [DRIFT_OVER]:
        tried = tried_in_episode(state)
        checks.append(
            _check("this drift was not trained for yet", tried is None, Role.GUARD, "one retraining a drift episode",
                   "not yet" if tried is None else f"one {window.index - tried} windows ago, and production stayed")
        )  # fmt: skip
    labels = dict(evidence.new_labels)
    rarest = min(labels.values(), default=0)
    checks += [
        _check("enough new labels", sum(labels.values()) >= rules.min_new_labels, Role.GUARD,
               f"{rules.min_new_labels} labelled rows newer than production", str(sum(labels.values()))),
        _check("enough new labels of each class", rarest >= rules.min_new_labels_per_class, Role.GUARD,
               f"{rules.min_new_labels_per_class} of each", f"{rarest} of the rarest"),
    ]  # fmt: skip
    if not evidence.requested:
        last = max(state.trained_at, default=None)
        spent = sum(1 for index in state.trained_at if index > window.index - rules.budget_windows)
        checks += [
            _check("not trained for this window yet", window.index not in state.trained_at, Role.GUARD, "never twice for one window",
                   "trained" if window.index in state.trained_at else "not yet"),
            # There is nothing to rest from while nothing is in production; the budget still holds.
            _check("cooldown is over", last is None or state.production is None or window.index - last > rules.cooldown_windows, Role.GUARD,
                   f"more than {rules.cooldown_windows} windows since the last retraining",
                   "none before" if last is None else f"{window.index - last}"),
            _check("retraining budget is left", spent < rules.budget_trainings, Role.GUARD,
                   f"fewer than {rules.budget_trainings} in {rules.budget_windows} windows", str(spent)),
        ]  # fmt: skip
    triggered = any(check.role is Role.TRIGGER and check.outcome is Outcome.HOLDS for check in checks)
    action = Action.RETRAIN if triggered and _all_hold(checks, Role.GUARD) else Action.KEEP
    return Decision(Kind.RETRAINING, action, window.name, tuple(checks), state.production)


def _allowed_by_delta(comparison: Comparison, policy: Policy) -> bool | None:
    """Not significantly worse for production's own recipe, significantly better for another; None when unmeasured."""
    if comparison.delta is None:
        return None
    if comparison.same_recipe:
        return comparison.delta.upper >= -policy.promotion.max_loss
    return comparison.delta.lower > policy.promotion.min_delta


def choose_candidate(comparisons: tuple[Comparison, ...], policy: Policy) -> Comparison | None:
    """The best candidate that its own delta rule lets through; failing that production's recipe, failing that the best.

    All comparisons are on the same rows; on weighted history a candidate counts for `min_recent_gain` less. None when nothing was compared.
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
    """PROMOTE when every gate holds, ESCALATE when production itself could not be scored, otherwise REJECT."""
    rules, comparison = policy.promotion, evidence.comparison
    if comparison is None:
        nothing = _check("candidate was scored", None, Role.GATE, "scores on the evaluation window", "none")
        return Decision(Kind.PROMOTION, Action.REJECT, evidence.window.name, (nothing,), evidence.version)
    scores = comparison.candidate
    rarest = min((one.rows for one in scores.classes), default=0)
    auc, live, base = scores.val_auc, comparison.production, comparison.baseline_auc
    checks = [
        _check("enough evaluation rows", scores.rows >= rules.min_rows and rarest >= rules.min_rows_per_class, Role.GATE,
               f"{rules.min_rows} rows, {rules.min_rows_per_class} of each class", f"{scores.rows} rows, {rarest} of the rarest class"),
        _floor_check("val_auc", auc, live.val_auc if live else None, rules.min_val_auc),
        _floor_check("F1", scores.f1, live.f1 if live else None, rules.min_f1),
        _floor_check("better than the trivial baseline", None if auc is None else auc - base,
                     None if live is None or live.val_auc is None else live.val_auc - base, rules.min_gain_over_baseline,
                     f" over {base:.4f}"),
        *_rows_checks(evidence, comparison),
        _delta_check(evidence, comparison, policy),
        *_slice_checks(evidence, comparison, policy),
        *(_check(f"golden case {one.name}", one.passed, Role.GATE, one.wanted, one.got) for one in evidence.golden),
        _check("packaged model answers like the fitted one",
               None if evidence.packaging_difference is None else evidence.packaging_difference <= rules.max_packaging_difference,
               Role.GATE, f"within {rules.max_packaging_difference:g}",
               "not tried" if evidence.packaging_difference is None else f"{evidence.packaging_difference:.2g}"),
    ]  # fmt: skip
    if evidence.served_by:
        got = f"{evidence.served_by}: {evidence.served_reason}" if evidence.served_reason else evidence.served_by
        checks.append(_check("served as ONNX", evidence.served_by == "onnx", Role.NOTE, "the proved ONNX model", got))
    if evidence.quarantined:
        checks.append(_check("quarantined windows", True, Role.NOTE, "kept out of training", ", ".join(evidence.quarantined)))
    if _all_hold(checks, Role.GATE):
        action = Action.PROMOTE
    elif evidence.production_error and rules.escalate_unscorable_production:
        action = Action.ESCALATE
    else:
        action = Action.REJECT
    return Decision(Kind.PROMOTION, action, evidence.window.name, tuple(checks), evidence.version)


def _floor_check(claim: str, value: float | None, production: float | None, floor: float, over: str = "") -> Check:
    """A floor keeps bad models out; it is no reason to keep a worse one in, so it binds no better than production holds it itself."""
    below = production is not None and production < floor
    wanted = f"at least {floor:.3f}{over}" + (f", which production misses too with {production:.4f}" if below else "")
    return _check(
        claim, None if value is None else below or value >= floor, Role.GATE, wanted, "unknown" if value is None else f"{value:.4f}"
    )


def _is_first_model(evidence: PromotionEvidence, comparison: Comparison) -> bool:
    """Nothing is in production, by every part of the evidence; a version that merely is not named, or failed, is not nothing."""
    return evidence.production is None and comparison.production is None and not evidence.production_error


def _rows_checks(evidence: PromotionEvidence, comparison: Comparison) -> list[Check]:
    """A part of the window that the candidate learns from shares that window's faults: it can judge the first model only."""
    if not comparison.held_out:
        return []
    role = Role.NOTE if _is_first_model(evidence, comparison) else Role.GATE
    return [_check("evaluation rows are newer than the training rows", False, role,
                   "a newer labelled window, unless it is the first model", f"a held-out part of {comparison.window}")]  # fmt: skip


def _delta_check(evidence: PromotionEvidence, comparison: Comparison, policy: Policy) -> Check:
    rules = policy.promotion
    claim = f"delta on {comparison.window}"
    if _is_first_model(evidence, comparison):
        return _check(claim, True, Role.GATE, "a production model to compare with", "none: this is the first model")
    if evidence.production_error:
        # An unscorable production must not block every release for ever: a person decides, or the policy accepts the other gates.
        accepted = None if rules.escalate_unscorable_production else True
        return _check(
            claim, accepted, Role.GATE, f"production version {evidence.production} scored on the same rows", evidence.production_error
        )
    if comparison.same_recipe:
        wanted = f"not significantly worse than version {evidence.production}: upper bound at least {0 - rules.max_loss:+.4f}"
    else:
        wanted = f"significantly better than version {evidence.production}: lower bound over {rules.min_delta:+.4f}"
    return _check(
        claim, _allowed_by_delta(comparison, policy), Role.GATE, wanted, "unknown" if comparison.delta is None else str(comparison.delta)
    )


def _slice_checks(evidence: PromotionEvidence, comparison: Comparison, policy: Policy) -> list[Check]:
    """A protected slice must be known and unharmed; any other slice only informs, whatever it shows.

    Intervals come corrected for the number of slices (`scoring.measure_slices`), so that each can be read alone here.
    """
    rules = policy.promotion
    if evidence.production_error or _is_first_model(evidence, comparison):
        return []
    checks = []
    for one in comparison.slices:
        enough = one.rows >= rules.min_slice_rows and one.rarest >= rules.min_slice_rows_per_class
        unharmed = one.delta.upper >= -rules.max_loss if enough and one.delta is not None else None
        shown = "not measurable" if one.delta is None else str(one.delta) if enough else f"too few to tell: {one.delta}"
        checks.append(
            _check(f"slice {one.name} is not harmed", unharmed, Role.GATE if one.protected else Role.NOTE,
                   f"not significantly worse on at least {rules.min_slice_rows} rows, {rules.min_slice_rows_per_class} of each class",
                   f"{shown}; {one.rows} rows, {one.rarest} of the rarest class")
        )  # fmt: skip
    return checks


def decide_rollback(evidence: RollbackEvidence, policy: Policy) -> Decision:
    """ROLLBACK when production, on probation, is significantly worse than the version it replaced; otherwise KEEP."""
    rules, state, delta = policy.rollback, evidence.state, evidence.delta
    since = None if state.promoted_at is None else evidence.window.index - state.promoted_at
    before = "what it replaced" if state.previous is None else f"version {state.previous}"
    on_probation = since is not None and 1 <= since <= rules.probation_windows
    checks = (
        _check("rollback is switched on", rules.enabled, Role.GUARD, "enabled", "enabled" if rules.enabled else "disabled"),
        _check("a version to go back to", state.previous is not None, Role.GUARD, "previous",
               "none" if state.previous is None else before),
        _check("production is on probation", on_probation, Role.GUARD, f"1 to {rules.probation_windows} windows after promotion",
               "never promoted" if since is None else f"{since} windows"),
        _check("enough labelled rows", None if delta is None else delta.rows >= rules.min_rows, Role.GUARD, f"{rules.min_rows} rows",
               "not measured" if delta is None else str(delta.rows)),
        _check(f"production is significantly worse than {before}", None if delta is None else delta.upper < -rules.max_loss,
               Role.TRIGGER, f"upper bound of delta below {0 - rules.max_loss:+.4f}", "not measured" if delta is None else str(delta)),
    )  # fmt: skip
    worse = checks[-1].outcome is Outcome.HOLDS
    action = Action.ROLLBACK if worse and _all_hold(list(checks), Role.GUARD) else Action.KEEP
    return Decision(Kind.ROLLBACK, action, evidence.window.name, checks, state.previous if action is Action.ROLLBACK else state.production)


def is_quarantined(auc: Estimate, earlier: tuple[float, ...], expected: float | None, policy: QuarantinePolicy) -> bool:
    """Is production's AUC on a window, all of its interval, too far below the worst of its last windows to trust the labels?

    While fewer windows than `memory_windows` were judged, the AUC that production was promoted with (`expected`) is one of them; when
    that is unknown too, nothing is kept out.
    """
    recent = earlier[-policy.memory_windows :]
    if len(recent) < policy.memory_windows:
        if expected is None:
            return False
        recent = (*recent, expected)
    return auc.upper < min(recent) - policy.max_auc_drop


def labels_shifted(counts: tuple[int, ...], earlier: tuple[tuple[int, ...], ...], policy: QuarantinePolicy) -> bool:
    """Are the odds of a class too far from those in each of the last windows to trust the labels?

    Rows by class, of the window and of earlier ones, oldest first. Without an earlier window nothing is known, and nothing is kept out.
    """

    def far(one: int, rows: int, other: int, others: int) -> bool:
        # Half a row more on each side: a class that happens to be absent has odds, too (Haldane 1956, Annals of Human Genetics 20:309).
        ratio = ((one + 0.5) / (rows - one + 0.5)) / ((other + 0.5) / (others - other + 0.5))
        return max(ratio, 1 / ratio) > policy.max_odds_ratio

    recent = earlier[-policy.memory_windows :]
    return bool(recent) and any(
        all(far(count, sum(counts), before[label], sum(before)) for before in recent) for label, count in enumerate(counts)
    )
