"""When to keep a labelled window out of training: its labels are more likely wrong than new.

That is provisional, because a sudden, real change looks the same: the next labelled window is the
witness, or a person decides.
"""

from __future__ import annotations

from math import hypot

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
from closedloop.decisions.label_evidence import QuarantineEvidence, WitnessEvidence
from closedloop.decisions.policy import Policy, QuarantinePolicy


def decide_quarantine(evidence: QuarantineEvidence, policy: Policy) -> Decision:
    """QUARANTINE a window whose labels are not trusted, otherwise KEEP it.

    Not trusted: AUC or class shares are too far from the windows before it. What was released
    before is trusted.
    """
    checks: tuple[Check, ...] = (
        _auc_check(evidence, policy.quarantine),
        _shares_check(evidence, policy.quarantine),
    )
    if evidence.trusted_by:
        released = f"{evidence.window} was released by {evidence.trusted_by}"
        claim = "it was not released before"
        checks += (make_check(claim, False, Role.GUARD, "no release", released, summary=released),)
    out = any_trigger(checks) and all_hold(checks, Role.GUARD)
    action = Action.QUARANTINE if out else Action.KEEP
    return Decision(Kind.QUARANTINE, action, evidence.window, checks, evidence.production)


def decide_release(evidence: WitnessEvidence, policy: Policy) -> Decision:
    """RELEASE a window from quarantine when a later one looks like it, otherwise KEEP it out.

    If what was odd about the window is there again in the witness, the data has changed. If
    production is better again, the labels of the window were wrong.
    """
    checks: tuple[Check, ...] = (_alike_check(evidence),)
    shifted = _largest_shift(
        evidence.label_counts, evidence.earlier_label_counts, policy.quarantine.memory_windows
    )
    if shifted is not None and shifted > policy.quarantine.max_odds_ratio:
        checks += (_alike_shares_check(evidence, policy.quarantine),)
    release = any_trigger(checks) and all_hold(checks, Role.GUARD)
    action = Action.RELEASE if release else Action.KEEP
    return Decision(Kind.QUARANTINE, action, evidence.window, checks, evidence.production)


def _alike_check(evidence: WitnessEvidence) -> Check:
    """Does production as badly on the witness? Both AUCs have an error of chance."""
    before, now = evidence.auc, evidence.witness_auc
    chance = hypot(now.value - now.lower, before.upper - before.value)
    alike = now.value - before.value <= chance
    window, witness = evidence.window, evidence.witness
    aucs = f"AUC {now.value:.4f} against {before.value:.4f}"
    return make_check(
        f"production does no better on {witness}",
        alike,
        Role.TRIGGER,
        f"an AUC at most {chance:.4f} above that on {window}, {before.value:.4f}",
        f"{now.value:.4f} on {now.rows} rows",
        summary=f"production does no better on {witness} than on {window} ({aucs}), "
        "so the change looks real"
        if alike
        else f"{window} stays out of training, production is not as bad on {witness}: {aucs}",
    )


def _alike_shares_check(evidence: WitnessEvidence, rules: QuarantinePolicy) -> Check:
    """Are the class shares of the witness nearer to the window's than to those before it?"""
    witness = evidence.witness_label_counts
    here = _largest_shift(witness, (evidence.label_counts,), 1)
    before = _largest_shift(witness, evidence.earlier_label_counts, rules.memory_windows)
    assert here is not None
    assert before is not None
    summary = f"the class shares of {evidence.witness} are nearer to those before {evidence.window}"
    return make_check(
        f"class shares of {evidence.witness} are like those of {evidence.window}",
        here < before,
        Role.GUARD,
        f"odds that changed less than the {before:.1f} times against the windows before",
        f"{here:.1f} times",
        summary="" if here < before else summary,
    )


def _auc_check(evidence: QuarantineEvidence, rules: QuarantinePolicy) -> Check:
    """Is production's AUC, all of its interval, too far below the worst of its last windows?

    While production has fewer than `memory_windows` of them, the AUC that it was promoted with
    counts as one; if that is unknown too, so is the answer.
    """
    auc, recent = evidence.realised_auc, evidence.earlier_aucs[-rules.memory_windows :]
    known = len(recent) == rules.memory_windows or evidence.expected_auc is not None
    if len(recent) < rules.memory_windows and evidence.expected_auc is not None:
        recent = (*recent, evidence.expected_auc)
    got = f"{auc.value:.4f} [{auc.lower:.4f}, {auc.upper:.4f}] on {auc.rows} rows"
    far = auc.upper < min(recent) - rules.max_auc_drop if known else None
    return make_check(
        "AUC is far below the windows before",
        far,
        Role.TRIGGER,
        f"upper bound more than {rules.max_auc_drop:g} below the worst of them, {min(recent):.4f}"
        if known
        else f"{rules.memory_windows} windows before, or the AUC of the promotion",
        got,
        summary=f"AUC {got} is far below the windows before, of which the worst had "
        f"{min(recent):.4f}"
        if far
        else "",
    )


def _shares_check(evidence: QuarantineEvidence, rules: QuarantinePolicy) -> Check:
    """Are the odds of a class too far from those in each of the last windows?"""
    ratio = _largest_shift(
        evidence.label_counts, evidence.earlier_label_counts, rules.memory_windows
    )
    got = "no labelled window before" if ratio is None else f"{ratio:.1f} times"
    far = None if ratio is None else ratio > rules.max_odds_ratio
    return make_check(
        "class shares are far from the windows before",
        far,
        Role.TRIGGER,
        f"odds of a class more than {rules.max_odds_ratio:g} times higher or lower",
        got,
        summary=f"the odds of a class changed {got} against the windows "
        f"before (limit {rules.max_odds_ratio:g})"
        if far
        else "",
    )


def _largest_shift(
    counts: tuple[int, ...], earlier: tuple[tuple[int, ...], ...], memory: int
) -> float | None:
    """How many times the odds of a class changed against the nearest of the last windows.

    Of the class that changed most; None without a window before.
    """
    recent = earlier[-memory:]
    if not recent:
        return None
    return max(
        (
            min(_odds_ratio(counts, before, label) for before in recent)
            for label in range(len(counts))
        ),
        default=1.0,
    )


def _odds_ratio(counts: tuple[int, ...], before: tuple[int, ...], label: int) -> float:
    """How many times the odds of a class rose or fell, at least 1."""

    def odds(rows: tuple[int, ...]) -> float:
        # Half a row more on each side: a class that happens to be absent has odds, too (Haldane
        # 1956, Annals of Human Genetics 20:309).
        return (rows[label] + 0.5) / (sum(rows) - rows[label] + 0.5)

    ratio = odds(counts) / odds(before)
    return max(ratio, 1 / ratio)
