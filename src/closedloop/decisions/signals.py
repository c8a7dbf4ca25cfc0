"""What calls a promotion back without labels: failures, time, and answers that cannot be right.

Each compares production with the version that it replaced, so that a bad day of the data, of the
machine or of a client is no reason.
"""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

from closedloop.decisions.any_time import hold_at_any_time
from closedloop.decisions.checks import Check, Role, make_check
from closedloop.decisions.evidence import Estimate
from closedloop.decisions.rollback_evidence import AnswersSeen, RollbackEvidence, Served
from closedloop.decisions.rollback_policy import RollbackPolicy

UNUSABLE = "production cannot answer rows that"
SAME = "production gives nearly every row the same answer"
SHIFTED = "production's scores moved as these rows do not explain"
FAILING = "production fails more often than"
SLOW = "production answers far slower than"


def signal_checks(evidence: RollbackEvidence, rules: RollbackPolicy, before: str) -> list[Check]:
    """A trigger for each signal that somebody looked for; `before` names the version before."""
    checks = []
    if evidence.answers is not None:
        checks += _answer_checks(evidence.answers, rules, before)
    if evidence.served is not None:
        checks += _served_checks(evidence.served, evidence.served_before, rules, before)
    return checks


def _answer_checks(seen: AnswersSeen, rules: RollbackPolicy, before: str) -> list[Check]:
    few = seen.rows < rules.min_signal_rows
    unusable = make_check(
        f"{UNUSABLE} {before} answers",
        bool(seen.production.unusable) and not seen.previous.unusable,
        Role.TRIGGER,
        "an error, or probabilities that are not finite",
        seen.production.unusable or "none",
        summary=f"{UNUSABLE} {before} answers: {seen.production.unusable}"
        if seen.production.unusable and not seen.previous.unusable
        else f"production could answer all {seen.rows} rows"
        if not seen.production.unusable
        else f"neither version can answer these rows: {seen.production.unusable}",
    )
    return [unusable, _same_check(seen, rules, before, few), _shift_check(seen, rules, before, few)]


def _same_check(seen: AnswersSeen, rules: RollbackPolicy, before: str, few: bool) -> Check:
    ours, theirs = seen.production.same_share, seen.previous.same_share
    known = not few and ours is not None and theirs is not None
    same = (
        ours > rules.max_same_share >= theirs if ours is not None and theirs is not None else None
    )
    shown = "not measured" if ours is None else f"{ours:.1%} of {seen.rows} rows"
    return make_check(
        SAME,
        same if known else None,
        Role.TRIGGER,
        f"more than {rules.max_same_share:.1%} of at least {rules.min_signal_rows} rows",
        shown,
        summary=f"{SAME}: {shown}, {before} {theirs:.1%}" if known and same else "",
    )


def _shift_check(seen: AnswersSeen, rules: RollbackPolicy, before: str, few: bool) -> Check:
    ours, theirs = seen.production.shift, seen.previous.shift
    beyond = None if few or ours is None or theirs is None else ours - theirs
    shifted = None if beyond is None else beyond > rules.max_score_shift
    shown = (
        "not measured"
        if beyond is None
        else f"moved by {ours:.3f}, those of {before} by {theirs:.3f}, on {seen.rows} rows"
    )
    return make_check(
        SHIFTED,
        shifted,
        Role.TRIGGER,
        f"more than {rules.max_score_shift:g} beyond {before} on the same rows",
        shown,
        summary=f"{SHIFTED}: {shown}" if shifted else "",
    )


def _served_checks(
    served: Served, other: Served | None, rules: RollbackPolicy, before: str
) -> list[Check]:
    enough = min(served.calls, other.calls if other else 0) >= rules.min_requests
    return [
        _failing_check(served, other, rules, before, enough),
        _slow_check(served, other, rules, before, enough),
    ]


def _failing_check(
    served: Served, other: Served | None, rules: RollbackPolicy, before: str, enough: bool
) -> Check:
    more = None
    if enough and other is not None:
        more = _measure_more(served, other, rules)
    shown = f"{served.failed} of {served.calls} calls" + (
        "" if other is None else f", {before} {other.failed} of {other.calls}"
    )
    failing = None if more is None else more.lower > rules.max_failed_share
    return make_check(
        f"{FAILING} {before}",
        failing,
        Role.TRIGGER,
        f"significantly more than {rules.max_failed_share:.1%} more of {rules.min_requests} calls",
        shown,
        summary=f"{FAILING} {before}: {shown}" if failing else "",
    )


def _measure_more(served: Served, other: Served, rules: RollbackPolicy) -> Estimate:
    """By how much the share of failed calls is higher, looked at as often as one likes."""
    ours, theirs = served.failed / served.calls, other.failed / other.calls
    error = sqrt(ours * (1 - ours) / served.calls + theirs * (1 - theirs) / other.calls)
    reach = NormalDist().inv_cdf(0.5 + rules.confidence / 2) * error
    usual = Estimate(ours - theirs, ours - theirs - reach, ours - theirs + reach, served.calls)
    return hold_at_any_time(usual, rules.confidence, rules.min_requests)


def _slow_check(
    served: Served, other: Served | None, rules: RollbackPolicy, before: str, enough: bool
) -> Check:
    ours, theirs = served.median_ms, other.median_ms if other else None
    slow, shown = None, "not measured"
    if ours is not None and theirs is not None:
        shown = f"{ours:.3g} ms, {before} {theirs:.3g} ms, in the median"
        slow = ours > rules.max_slower * theirs and ours - theirs >= rules.min_slower_ms
    return make_check(
        f"{SLOW} {before}",
        slow if enough else None,
        Role.TRIGGER,
        f"more than {rules.max_slower:g} times and {rules.min_slower_ms:g} ms",
        shown,
        summary=f"{SLOW} {before}: {shown}" if enough and slow else "",
    )
