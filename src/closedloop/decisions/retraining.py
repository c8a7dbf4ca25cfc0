"""When to retrain: gain, drift, loss or age asks; cooldown, budget and new labels allow it."""

from __future__ import annotations

from closedloop.decisions.auc_loss import (
    auc_loss,
    loss_by_chance,
    loss_over_limit,
    tell_loss,
    tell_too_few,
)
from closedloop.decisions.checks import (
    REQUESTED,
    Action,
    Check,
    Decision,
    Kind,
    Numbers,
    Outcome,
    Role,
    all_hold,
    any_trigger,
    make_check,
)
from closedloop.decisions.deciding_measure import MEASURES
from closedloop.decisions.drift_policy import TRAINING
from closedloop.decisions.evaluation_rows import repeated_checks
from closedloop.decisions.evidence import LoopState, RetrainingEvidence
from closedloop.decisions.gain import gain_check, is_settled
from closedloop.decisions.notes import note_new_columns
from closedloop.decisions.policy import Policy
from closedloop.decisions.retraining_guards import cost_checks, label_checks, windows_ago

DRIFT_OVER = "drift_share over its limit"
UNSCORABLE = "production cannot be scored"


def drift_over_limit(evidence: RetrainingEvidence, policy: Policy) -> bool | None:
    """Did drift_share pass its limit? None when not measured, or on too few rows."""
    share = evidence.drift.drift_share if evidence.drift else None
    few = evidence.window.rows < policy.retraining.min_rows
    return None if share is None or few else share > policy.retraining.max_drift_share


def _remembered(marks: tuple[bool, ...], now: bool | None, policy: Policy) -> bool | None:
    """n of the last m windows, the current one among the n."""
    if now is None:
        return None
    recent = (*marks, now)[-policy.retraining.memory_windows :]
    return now and sum(recent) >= policy.retraining.needed_windows


def tried_in_episode(state: LoopState, *, seasonal: bool = False) -> int | None:
    """Index of the newest retraining of this drift episode that may be its last; None without one.

    An episode is a run of windows whose drift_share is over its limit. A retraining that promoted
    nothing left production as it was, and the next would see the same. A promotion begins a new
    episode, because it moves the reference, or because the next window shows a change of its own.
    Last year's rows stay where they are (`seasonal`), so the same drift goes on after a promotion:
    the new production has learned from it, unless all its rows are older.
    """
    if state.drifting_since is None:
        return None
    moved = -1 if state.promoted_at is None else state.promoted_at
    learned = -1 if state.trained_through is None else state.trained_through
    if seasonal and learned >= state.drifting_since:
        moved = -1
    return max(
        (index for index in state.trained_at if index >= state.drifting_since and index > moved),
        default=None,
    )


def decide_retraining(evidence: RetrainingEvidence, policy: Policy) -> Decision:
    """RETRAIN when a trigger fired and every guard allows it, otherwise KEEP.

    ESCALATE a window that breaks the contract, that holds mostly rows of the windows before, or
    whose labels are not trusted.
    """
    repeated = repeated_checks(evidence.repeated, policy, Role.GUARD)
    if evidence.violations:
        action, checks = Action.ESCALATE, _contract_checks(evidence)
    elif not all_hold(repeated, Role.GUARD):
        action, checks = Action.ESCALATE, repeated
    elif evidence.quarantined:
        # Neither a loss on wrong labels nor a candidate judged on them says anything.
        action = Action.ESCALATE
        checks = [*_trigger_checks(evidence, policy), _trusted_check(evidence)]
    else:
        checks = _trigger_checks(evidence, policy)
        checks += repeated + _guard_checks(evidence, policy, checks)
        retrain = any_trigger(checks) and all_hold(checks, Role.GUARD)
        action = Action.RETRAIN if retrain else Action.KEEP
    checks += note_new_columns(evidence)
    production = evidence.state.production
    return Decision(Kind.RETRAINING, action, evidence.window.name, tuple(checks), production)


def _contract_checks(evidence: RetrainingEvidence) -> list[Check]:
    """The ways in which the window breaks the contract."""
    return [
        make_check(
            f"{violation.column} keeps the contract ({violation.rule})",
            False,
            Role.GUARD,
            violation.wanted,
            violation.got,
            summary=f"{violation.column} breaks the contract ({violation.rule}): "
            f"wanted {violation.wanted}, got {violation.got}",
        )
        for violation in evidence.violations
    ]


def _trusted_check(evidence: RetrainingEvidence) -> Check:
    """The newest labels may be wrong, or the world may have changed: that is not for the loop."""
    window = evidence.quarantined
    return make_check(
        f"the labels of {window} are trusted",
        False,
        Role.GUARD,
        "labels like those of the windows before",
        evidence.quarantined_because,
        summary=f"{window} is kept out of training, its labels look wrong: "
        f"{evidence.quarantined_because}. The next labelled window decides whether the change is "
        f"real, or a person: closedloop quarantine release {window}",
    )


def _trigger_checks(evidence: RetrainingEvidence, policy: Policy) -> list[Check]:
    """What may ask for a retraining; those about production only while there is one."""
    rules, production = policy.retraining, evidence.state.production
    checks = [
        make_check(
            "no production model",
            production is None,
            Role.TRIGGER,
            "none yet",
            "nothing promoted yet" if production is None else f"version {production}",
            summary="there is no production model yet" if production is None else "",
        ),
        make_check(
            REQUESTED,
            evidence.requested,
            Role.TRIGGER,
            "a request",
            "yes" if evidence.requested else "no",
            summary=REQUESTED if evidence.requested else "",
        ),
    ]
    if evidence.production_error:
        checks.append(
            make_check(
                UNSCORABLE,
                True,
                Role.TRIGGER,
                "an answer from production",
                evidence.production_error,
                summary=f"production cannot be scored: {evidence.production_error}",
            )
        )
    if production is not None and rules.gain_trigger:
        checks.append(gain_check(evidence, policy))
    if production is not None and rules.drift_trigger:
        checks.append(_drift_check(evidence, policy))
    if production is not None and rules.auc_loss_trigger:
        checks.append(_loss_check(evidence, policy))
    if production is not None and rules.age_trigger:
        checks.append(_age_check(evidence, policy))
    return checks


def _unless_gain(evidence: RetrainingEvidence, policy: Policy) -> Role:
    """Where it is known whether a training would pay, drift and a loss only inform.

    They are there in every window of a stream that drifts, and in every hard season.
    """
    return Role.NOTE if is_settled(evidence, policy) else Role.TRIGGER


def _drift_check(evidence: RetrainingEvidence, policy: Policy) -> Check:
    limit = f"{policy.retraining.max_drift_share:.2f}{_memory(policy)}"
    share = evidence.drift.drift_share if evidence.drift else None
    names = ", ".join(evidence.drift.drifted_columns[:5]) if evidence.drift else ""
    columns = f" ({names})" if names else ""
    against = _tell_reference(evidence, policy)
    over = _remembered(evidence.state.drift_marks, drift_over_limit(evidence, policy), policy)
    return make_check(
        DRIFT_OVER,
        over,
        _unless_gain(evidence, policy),
        f"over {limit}",
        "not measured"
        if share is None
        else f"{share:.2f}{against}{columns}{tell_too_few(evidence.window.rows, policy)}",
        summary=f"drift_share {share:.2f}{against} is over its limit {limit}{columns}"
        if over
        else "",
        numbers=Numbers(share, policy.retraining.max_drift_share),
    )


def _tell_reference(evidence: RetrainingEvidence, policy: Policy) -> str:
    """What the window was compared with, where that is a choice; empty for the training rows."""
    if evidence.drift is None or policy.drift.reference == TRAINING:
        return ""
    return f" against {evidence.drift.reference}"


def _loss_check(evidence: RetrainingEvidence, policy: Policy) -> Check:
    limit = f"{policy.retraining.max_auc_loss:.3f}{_memory(policy)}"
    fell = f"realised {MEASURES[policy.promotion.measure].fell}"
    over = _remembered(evidence.state.loss_marks, loss_over_limit(evidence, policy), policy)
    return make_check(
        f"{fell} by more than its limit",
        over,
        _unless_gain(evidence, policy),
        f"a significant loss over {limit}",
        tell_loss(evidence, policy),
        numbers=_loss_numbers(evidence, policy),
        summary=f"{fell} by {auc_loss(evidence, policy):.4f}, limit {limit}" if over else "",
    )


def _loss_numbers(evidence: RetrainingEvidence, policy: Policy) -> Numbers:
    """The loss between the least and the most that chance leaves of it."""
    loss, chance = auc_loss(evidence, policy), loss_by_chance(evidence, policy)
    limit = policy.retraining.max_auc_loss
    if loss is None or chance is None:
        return Numbers(limit=limit)
    return Numbers(loss, limit, loss - chance, loss + chance)


def _age_check(evidence: RetrainingEvidence, policy: Policy) -> Check:
    through, limit = evidence.state.trained_through, policy.retraining.max_age_windows
    age = None if through is None else evidence.window.index - through
    old = None if age is None else age >= limit
    return make_check(
        "production is old",
        old,
        Role.TRIGGER,
        f"{limit} windows",
        "unknown" if age is None else f"{age} windows",
        summary=f"production is {age} windows old, limit {limit}" if old else "",
        numbers=Numbers(age, limit),
    )


def _memory(policy: Policy) -> str:
    rules = policy.retraining
    if rules.memory_windows == 1:
        return ""
    return f" in {rules.needed_windows} of the last {rules.memory_windows} windows"


def _guard_checks(
    evidence: RetrainingEvidence, policy: Policy, triggers: list[Check]
) -> list[Check]:
    """What keeps the cost of retraining in hand. A request by a person needs new labels only."""
    asking = [check.claim for check in triggers if check.outcome is Outcome.HOLDS]
    checks = []
    if policy.retraining.once_an_episode and asking == [DRIFT_OVER]:
        checks.append(_episode_check(evidence, policy))
    checks += label_checks(evidence, policy)
    return checks if evidence.requested else checks + cost_checks(evidence, policy)


def _episode_check(evidence: RetrainingEvidence, policy: Policy) -> Check:
    state, drift = evidence.state, evidence.drift
    found = drift is not None and drift.reference_window is not None
    tried = tried_in_episode(state, seasonal=found and policy.drift.season is not None)
    ago = "" if tried is None else windows_ago(evidence.window.index - tried)
    learned = tried is not None and state.promoted_at is not None and tried <= state.promoted_at
    came_of_it = "production learned from it" if learned else "production stayed"
    told = (
        f"production learned from this drift {ago}"
        if learned
        else f"a retraining for this drift {ago} brought no better model"
    )
    return make_check(
        "no retraining yet for this drift",
        tried is None,
        Role.GUARD,
        "one retraining per drift episode",
        "none yet" if tried is None else f"one {ago}, and {came_of_it}",
        summary="" if tried is None else told,
    )
