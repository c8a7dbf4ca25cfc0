"""When to go back: production is on probation, and something is wrong with it.

Either it is significantly worse than what it replaced, by all labels of its probation together, or
a signal that needs no labels says so.
"""

from __future__ import annotations

from closedloop.decisions.against_limit import against
from closedloop.decisions.any_time import hold_at_any_time
from closedloop.decisions.checks import (
    Action,
    Check,
    Decision,
    Kind,
    Role,
    all_hold,
    any_trigger,
    make_check,
)
from closedloop.decisions.deciding_measure import MEASURES
from closedloop.decisions.policy import Policy
from closedloop.decisions.rarest_class import enough_of_rarest, tell_rarest, tell_wanted
from closedloop.decisions.rollback_evidence import RollbackEvidence
from closedloop.decisions.signals import signal_checks


def decide_rollback(evidence: RollbackEvidence, policy: Policy) -> Decision:
    """ROLLBACK when production, on probation, is worse than the version it replaced, or fails.

    Otherwise KEEP.
    """
    rules, state = policy.rollback, evidence.state
    since = None if state.promoted_at is None else evidence.window.index - state.promoted_at
    before = "the version it replaced" if state.previous is None else f"version {state.previous}"
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
            since is not None and 0 <= since <= rules.probation_windows,
            Role.GUARD,
            f"up to {rules.probation_windows} windows after its promotion",
            "never promoted, or its probation was ended" if since is None else f"{since} windows",
        ),
        *([] if since == 0 else [_quality_check(evidence, policy, before)]),
        *signal_checks(evidence, rules, before),
    )
    back = any_trigger(checks) and all_hold(checks, Role.GUARD)
    return Decision(
        Kind.ROLLBACK,
        Action.ROLLBACK if back else Action.KEEP,
        evidence.window.name,
        checks,
        state.previous if back else state.production,
    )


def _quality_check(evidence: RollbackEvidence, policy: Policy, before: str) -> Check:
    """Is production worse on all labelled rows of its probation so far?

    The interval is one that may be looked at after every window, and in between.
    """
    rules, delta = policy.rollback, evidence.delta
    claim, worse = f"production is significantly worse than {before}", None
    wanted = f"upper bound of delta below {0 - rules.max_loss:+.4f} at every look"
    if delta is None:
        nothing = f"no labelled rows yet that compare production with {before}"
        return make_check(
            claim,
            None,
            Role.TRIGGER,
            wanted,
            "not measured",
            summary=nothing,
            numbers=against(None, -rules.max_loss),
        )
    told = hold_at_any_time(delta, rules.confidence, rules.min_rows)
    rarest = evidence.rarest
    few_of_rarest = rarest is not None and not enough_of_rarest(
        rarest, delta.groups, rules.min_rows_per_class
    )
    if delta.rows < rules.min_rows or few_of_rarest:
        got = f"{told}" + ("" if rarest is None else f", {tell_rarest(rarest, delta.groups)}")
        enough = f"{rules.min_rows} rows, {tell_wanted(rules.min_rows_per_class, delta.groups)}"
        few = f"too few labelled rows to compare with {before}: wanted {enough}, got {got}"
        return make_check(claim, None, Role.TRIGGER, wanted, got, summary=few)
    worse = told.upper < -rules.max_loss
    windows = len(evidence.compared)
    over = f" of {windows} windows" if windows > 1 else ""
    return make_check(
        claim,
        worse,
        Role.TRIGGER,
        wanted,
        f"{told}{over}",
        summary=f"production is {'' if worse else 'not '}significantly worse than {before} on the "
        f"same rows: {MEASURES[policy.promotion.measure].gain} {told}{over}",
        numbers=against(told, -rules.max_loss),
    )
