"""When to keep a labelled window out of training: its labels are more likely wrong than new.

That is provisional, because a sudden, real change looks the same: the next labelled window is the
witness, or a person decides.
"""

from __future__ import annotations

from math import exp, hypot, log, sqrt
from statistics import NormalDist

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
from closedloop.decisions.policy import Policy
from closedloop.decisions.quarantine_policy import QuarantinePolicy


def decide_quarantine(evidence: QuarantineEvidence, policy: Policy) -> Decision:
    """QUARANTINE a window whose labels are not trusted, otherwise KEEP it.

    Not trusted: AUC or class shares are too far from the windows before it. What was released
    before is trusted.
    """
    checks: tuple[Check, ...] = (
        _auc_check(evidence, policy),
        _shares_check(evidence, policy),
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
    recent = evidence.earlier_label_counts[-policy.quarantine.memory_windows :]
    shifted = _largest_shift(evidence.label_counts, recent, _standard_errors(policy))
    if shifted > policy.quarantine.max_odds_ratio:
        checks += (_alike_shares_check(evidence, recent),)
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


def _alike_shares_check(evidence: WitnessEvidence, recent: tuple[tuple[int, ...], ...]) -> Check:
    """Are the class shares of the witness nearer to the window's than to those before it?"""
    witness = evidence.witness_label_counts
    here = _largest_shift(witness, (evidence.label_counts,))
    before = _largest_shift(witness, recent)
    summary = f"the class shares of {evidence.witness} are nearer to those before {evidence.window}"
    return make_check(
        f"class shares of {evidence.witness} are like those of {evidence.window}",
        here < before,
        Role.GUARD,
        f"odds that changed less than the {before:.1f} times against the windows before",
        f"{here:.1f} times",
        summary="" if here < before else summary,
    )


def _auc_check(evidence: QuarantineEvidence, policy: Policy) -> Check:
    """Is production's AUC too far below that on each of its last windows, by more than chance?

    While production has fewer than `memory_windows` of them, the AUC that it was promoted with
    counts as one; if that is unknown too, so is the answer.
    """
    auc, rules = evidence.realised_auc, policy.quarantine
    known = _recent_aucs(evidence, rules)
    got = f"{auc.value:.4f} [{auc.lower:.4f}, {auc.upper:.4f}] on {auc.rows} rows"
    if not known:
        return make_check(
            "AUC is far below the windows before",
            None,
            Role.TRIGGER,
            f"{rules.memory_windows} windows before, or the AUC of the promotion",
            got,
        )
    times = _standard_errors(policy)
    # Both AUCs have an error of chance, as in a loss.
    below, worst, chance = min(
        (before - auc.value - hypot(auc.upper - auc.value, times * error), before, times * error)
        for before, error in known
    )
    far = below > rules.max_auc_drop
    give_or_take = f" give or take {chance:.4f}" if chance else ""
    return make_check(
        "AUC is far below the windows before",
        far,
        Role.TRIGGER,
        f"surely more than {rules.max_auc_drop:g} below the worst of them, "
        f"{worst:.4f}{give_or_take}",
        got,
        summary=f"AUC {got} is far below the windows before, of which the worst had {worst:.4f}"
        if far
        else "",
    )


def _recent_aucs(
    evidence: QuarantineEvidence, rules: QuarantinePolicy
) -> tuple[tuple[float, float], ...]:
    """The AUCs that this one is held against, each with its standard error; none when unknown."""
    earlier, errors = evidence.earlier_aucs, evidence.earlier_errors
    # Journals of older versions did not keep the error of every window.
    errors = (*(0.0,) * (len(earlier) - len(errors)), *errors)
    recent = tuple(zip(earlier, errors, strict=True))[-rules.memory_windows :]
    if len(recent) == rules.memory_windows:
        return recent
    if evidence.expected_auc is None:
        return ()
    return (*recent, (evidence.expected_auc, evidence.expected_auc_error or 0.0))


def _shares_check(evidence: QuarantineEvidence, policy: Policy) -> Check:
    """Are the odds of a class too far from those in each of the last windows, by more than chance?

    `surely` in the words is the near end of the interval.
    """
    limit, errors = policy.quarantine.max_odds_ratio, _standard_errors(policy)
    counts, memory = evidence.label_counts, policy.quarantine.memory_windows
    earlier = evidence.earlier_label_counts[-memory:]
    surely = _largest_shift(counts, earlier, errors)
    far = surely > limit if earlier else None
    counted = f"{_largest_shift(counts, earlier):.1f} times"
    return make_check(
        "class shares are far from the windows before",
        far,
        Role.TRIGGER,
        f"odds of a class surely more than {limit:g} times higher or lower",
        f"{counted}, surely {surely:.1f}" if earlier else "no labelled window before",
        summary=f"the odds of a class changed {counted} against the windows "
        f"before (limit {limit:g})"
        if far
        else "",
    )


def _standard_errors(policy: Policy) -> float:
    """How many of them chance explains, at the confidence of the policy."""
    return NormalDist().inv_cdf(0.5 + policy.promotion.confidence / 2)


def _largest_shift(
    counts: tuple[int, ...], earlier: tuple[tuple[int, ...], ...], errors: float = 0.0
) -> float:
    """How many times the odds of a class changed against the nearest of some windows.

    Of the class that changed most, at least 1; less so many standard errors.
    """
    return max(
        (
            min((_odds_ratio(counts, before, label, errors) for before in earlier), default=1.0)
            for label in range(len(counts))
        ),
        default=1.0,
    )


def _odds_ratio(
    counts: tuple[int, ...], before: tuple[int, ...], label: int, errors: float
) -> float:
    """How many times the odds of a class rose or fell, less so many standard errors; at least 1."""
    # Half a row more in each cell: a class that happens to be absent has odds, too, and their
    # logarithm has an error (Haldane 1956, Annals of Human Genetics 20:309; Gart 1966, Biometrika
    # 53:149).
    cells = [
        rows + 0.5
        for labelled in (counts, before)
        for rows in (labelled[label], sum(labelled) - labelled[label])
    ]
    change = abs(log(cells[0] / cells[1]) - log(cells[2] / cells[3]))
    return exp(max(0.0, change - errors * sqrt(sum(1 / rows for rows in cells))))
