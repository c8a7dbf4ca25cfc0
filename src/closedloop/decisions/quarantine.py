"""When to keep a labelled window out of training: its labels are more likely wrong than new."""

from __future__ import annotations

from closedloop.decisions.checks import Action, Check, Decision, Kind, Role, any_trigger, make_check
from closedloop.decisions.evidence import QuarantineEvidence
from closedloop.decisions.policy import Policy, QuarantinePolicy


def decide_quarantine(evidence: QuarantineEvidence, policy: Policy) -> Decision:
    """QUARANTINE a window whose labels are not trusted, otherwise KEEP it.

    Not trusted: AUC or class shares are too far from the windows before it.
    """
    checks = (
        _auc_check(evidence, policy.quarantine),
        _shares_check(evidence, policy.quarantine),
    )
    action = Action.QUARANTINE if any_trigger(checks) else Action.KEEP
    return Decision(Kind.QUARANTINE, action, evidence.window, checks, evidence.production)


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
    recent = evidence.earlier_label_counts[-rules.memory_windows :]
    ratio = (
        max(
            (
                min(_odds_ratio(evidence.label_counts, before, label) for before in recent)
                for label in range(len(evidence.label_counts))
            ),
            default=1.0,
        )
        if recent
        else None
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


def _odds_ratio(counts: tuple[int, ...], before: tuple[int, ...], label: int) -> float:
    """How many times the odds of a class rose or fell, at least 1."""

    def odds(rows: tuple[int, ...]) -> float:
        # Half a row more on each side: a class that happens to be absent has odds, too (Haldane
        # 1956, Annals of Human Genetics 20:309).
        return (rows[label] + 0.5) / (sum(rows) - rows[label] + 0.5)

    ratio = odds(counts) / odds(before)
    return max(ratio, 1 / ratio)
