"""When to retrain: drift, a loss of realised AUC or age asks for it; cooldown, budget and enough
new labels allow it."""

from __future__ import annotations

from closedloop.decisions.checks import (
    Action,
    Check,
    Decision,
    Kind,
    Outcome,
    Role,
    all_hold,
    make_check,
)
from closedloop.decisions.evidence import LoopState, RetrainingEvidence
from closedloop.decisions.policy import Policy

DRIFT_OVER = "drift_share over its limit"


def drift_over_limit(evidence: RetrainingEvidence, policy: Policy) -> bool | None:
    """Did this window's drift_share pass its limit? None when it was not measured."""
    share = evidence.drift.drift_share if evidence.drift else None
    return None if share is None else share > policy.retraining.max_drift_share


def auc_loss(evidence: RetrainingEvidence) -> float | None:
    """What production was promoted with minus what it realised on this window; None without labels
    or production."""
    expected, realised = evidence.state.expected_auc, evidence.realised_auc
    return None if expected is None or realised is None else expected - realised.value


def loss_over_limit(evidence: RetrainingEvidence, policy: Policy) -> bool | None:
    """Is the AUC loss over its limit and beyond its confidence interval? None when it was not
    measured."""
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
    """Index of the newest retraining of this drift episode that left production, and so the
    reference, as it was; None without one.

    An episode is a run of windows whose drift_share is over its limit; a promotion moves the
    reference and begins a new one.
    """
    if state.drifting_since is None:
        return None
    moved = -1 if state.promoted_at is None else state.promoted_at
    return max(
        (index for index in state.trained_at if index >= state.drifting_since and index > moved),
        default=None,
    )


def decide_retraining(evidence: RetrainingEvidence, policy: Policy) -> Decision:
    """ESCALATE a broken window, RETRAIN when a trigger fired and every guard allows it, otherwise
    KEEP."""
    window, state, rules = evidence.window, evidence.state, policy.retraining
    if evidence.violations:
        broken = tuple(
            Check(
                f"{violation.column} keeps the contract ({violation.rule})",
                Outcome.FAILS,
                Role.GUARD,
                violation.wanted,
                violation.got,
            )
            for violation in evidence.violations
        )
        return Decision(Kind.RETRAINING, Action.ESCALATE, window.name, broken, state.production)

    memory = (
        ""
        if rules.memory_windows == 1
        else f" in {rules.needed_windows} of the last {rules.memory_windows} windows"
    )
    checks = [
        make_check(
            "no production model",
            state.production is None,
            Role.TRIGGER,
            "none yet",
            "nothing promoted yet" if state.production is None else f"version {state.production}",
        ),
        make_check(
            "asked for by a person",
            evidence.requested,
            Role.TRIGGER,
            "a request",
            "yes" if evidence.requested else "no",
        ),
    ]
    if evidence.production_error:
        checks.append(
            make_check(
                "production cannot be scored",
                True,
                Role.TRIGGER,
                "an answer from production",
                evidence.production_error,
            )
        )
    if state.production is not None and rules.drift_trigger:
        share = evidence.drift.drift_share if evidence.drift else None
        names = ", ".join(evidence.drift.drifted_columns[:5]) if evidence.drift else ""
        checks.append(
            make_check(
                DRIFT_OVER,
                _remembered(state.drift_marks, drift_over_limit(evidence, policy), policy),
                Role.TRIGGER,
                f"over {rules.max_drift_share:.2f}{memory}",
                "not measured"
                if share is None
                else f"{share:.2f}" + (f" ({names})" if names else ""),
            )
        )
    if state.production is not None and rules.auc_loss_trigger:
        loss = auc_loss(evidence)
        checks.append(
            make_check(
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
            make_check(
                "production is old",
                None if age is None else age >= rules.max_age_windows,
                Role.TRIGGER,
                f"{rules.max_age_windows} windows",
                "unknown" if age is None else f"{age} windows",
            )
        )

    asking = [check.claim for check in checks if check.outcome is Outcome.HOLDS]
    if rules.once_an_episode and asking == [DRIFT_OVER]:
        tried = tried_in_episode(state)
        checks.append(
            make_check(
                "this drift was not trained for yet",
                tried is None,
                Role.GUARD,
                "one retraining a drift episode",
                "not yet"
                if tried is None
                else f"one {window.index - tried} windows ago, and production stayed",
            )
        )
    labels = dict(evidence.new_labels)
    rarest = min(labels.values(), default=0)
    checks += [
        make_check(
            "enough new labels",
            sum(labels.values()) >= rules.min_new_labels,
            Role.GUARD,
            f"{rules.min_new_labels} labelled rows newer than production",
            str(sum(labels.values())),
        ),
        make_check(
            "enough new labels of each class",
            rarest >= rules.min_new_labels_per_class,
            Role.GUARD,
            f"{rules.min_new_labels_per_class} of each",
            f"{rarest} of the rarest",
        ),
    ]
    if not evidence.requested:
        last = max(state.trained_at, default=None)
        spent = sum(1 for index in state.trained_at if index > window.index - rules.budget_windows)
        checks += [
            make_check(
                "not trained for this window yet",
                window.index not in state.trained_at,
                Role.GUARD,
                "never twice for one window",
                "trained" if window.index in state.trained_at else "not yet",
            ),
            # There is nothing to rest from while nothing is in production; the budget still holds.
            make_check(
                "cooldown is over",
                last is None
                or state.production is None
                or window.index - last > rules.cooldown_windows,
                Role.GUARD,
                f"more than {rules.cooldown_windows} windows since the last retraining",
                "none before" if last is None else f"{window.index - last}",
            ),
            make_check(
                "retraining budget is left",
                spent < rules.budget_trainings,
                Role.GUARD,
                f"fewer than {rules.budget_trainings} in {rules.budget_windows} windows",
                str(spent),
            ),
        ]
    triggered = any(
        check.role is Role.TRIGGER and check.outcome is Outcome.HOLDS for check in checks
    )
    action = Action.RETRAIN if triggered and all_hold(checks, Role.GUARD) else Action.KEEP
    return Decision(Kind.RETRAINING, action, window.name, tuple(checks), state.production)
