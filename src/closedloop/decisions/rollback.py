"""When to go back: production is on probation and significantly worse than what it replaced."""

from __future__ import annotations

from closedloop.decisions.against_limit import against
from closedloop.decisions.checks import (
    Action,
    Decision,
    Kind,
    Numbers,
    Role,
    all_hold,
    any_trigger,
    make_check,
)
from closedloop.decisions.deciding_measure import MEASURES
from closedloop.decisions.evidence import RollbackEvidence
from closedloop.decisions.policy import Policy


def decide_rollback(evidence: RollbackEvidence, policy: Policy) -> Decision:
    """ROLLBACK when production, on probation, is significantly worse than the version it replaced.

    Otherwise KEEP.
    """
    rules, state, delta = policy.rollback, evidence.state, evidence.delta
    since = None if state.promoted_at is None else evidence.window.index - state.promoted_at
    before = "the version it replaced" if state.previous is None else f"version {state.previous}"
    worse = None if delta is None else delta.upper < -rules.max_loss
    checks = (
        make_check(
            "rollback is enabled",
            rules.enabled,
            Role.GUARD,
            "enabled",
            "enabled" if rules.enabled else "disabled",
            summary="" if rules.enabled else "rollback is disabled in the policy",
        ),
        make_check(
            "there is a version to go back to",
            state.previous is not None,
            Role.GUARD,
            "a previous version",
            "none" if state.previous is None else before,
            summary="" if state.previous is not None else "there is no version to go back to",
        ),
        make_check(
            "production is on probation",
            since is not None and 1 <= since <= rules.probation_windows,
            Role.GUARD,
            f"1 to {rules.probation_windows} windows after its promotion",
            "never promoted" if since is None else f"{since} windows",
        ),
        make_check(
            "enough labelled rows",
            None if delta is None else delta.rows >= rules.min_rows,
            Role.GUARD,
            f"{rules.min_rows} rows",
            "not measured" if delta is None else str(delta.rows),
            numbers=Numbers(None if delta is None else delta.rows, rules.min_rows),
        ),
        make_check(
            f"production is significantly worse than {before}",
            worse,
            Role.TRIGGER,
            f"upper bound of delta below {0 - rules.max_loss:+.4f}",
            "not measured" if delta is None else str(delta),
            summary=""
            if delta is None
            else f"production is {'' if worse else 'not '}significantly worse than {before} on the "
            f"same rows: {MEASURES[policy.promotion.measure].gain} {delta}",
            numbers=against(delta, -rules.max_loss),
        ),
    )
    back = any_trigger(checks) and all_hold(checks, Role.GUARD)
    return Decision(
        Kind.ROLLBACK,
        Action.ROLLBACK if back else Action.KEEP,
        evidence.window.name,
        checks,
        state.previous if back else state.production,
    )
