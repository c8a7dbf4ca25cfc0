"""When to go back: production, on probation, is significantly worse than the version it
replaced."""

from __future__ import annotations

from closedloop.decisions.checks import Action, Decision, Kind, Outcome, Role, all_hold, make_check
from closedloop.decisions.evidence import RollbackEvidence
from closedloop.decisions.policy import Policy


def decide_rollback(evidence: RollbackEvidence, policy: Policy) -> Decision:
    """ROLLBACK when production, on probation, is significantly worse than the version it replaced;
    otherwise KEEP."""
    rules, state, delta = policy.rollback, evidence.state, evidence.delta
    since = None if state.promoted_at is None else evidence.window.index - state.promoted_at
    before = "what it replaced" if state.previous is None else f"version {state.previous}"
    on_probation = since is not None and 1 <= since <= rules.probation_windows
    checks = (
        make_check(
            "rollback is switched on",
            rules.enabled,
            Role.GUARD,
            "enabled",
            "enabled" if rules.enabled else "disabled",
        ),
        make_check(
            "a version to go back to",
            state.previous is not None,
            Role.GUARD,
            "previous",
            "none" if state.previous is None else before,
        ),
        make_check(
            "production is on probation",
            on_probation,
            Role.GUARD,
            f"1 to {rules.probation_windows} windows after promotion",
            "never promoted" if since is None else f"{since} windows",
        ),
        make_check(
            "enough labelled rows",
            None if delta is None else delta.rows >= rules.min_rows,
            Role.GUARD,
            f"{rules.min_rows} rows",
            "not measured" if delta is None else str(delta.rows),
        ),
        make_check(
            f"production is significantly worse than {before}",
            None if delta is None else delta.upper < -rules.max_loss,
            Role.TRIGGER,
            f"upper bound of delta below {0 - rules.max_loss:+.4f}",
            "not measured" if delta is None else str(delta),
        ),
    )
    worse = checks[-1].outcome is Outcome.HOLDS
    action = Action.ROLLBACK if worse and all_hold(list(checks), Role.GUARD) else Action.KEEP
    return Decision(
        Kind.ROLLBACK,
        action,
        evidence.window.name,
        checks,
        state.previous if action is Action.ROLLBACK else state.production,
    )
