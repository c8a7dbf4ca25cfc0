"""Gates about rows: what a candidate was judged on, and what it learnt."""

from __future__ import annotations

from closedloop.decisions.checks import Check, Numbers, Role, make_check
from closedloop.decisions.deciding_measure import MEASURES
from closedloop.decisions.evidence import Comparison, PromotionEvidence
from closedloop.decisions.more_labels import windows_to_come
from closedloop.decisions.policy import Policy, PromotionPolicy
from closedloop.decisions.rarest_class import enough_of_rarest, tell_rarest, tell_wanted
from closedloop.decisions.repeated_rows import RepeatedRows

ENOUGH_NEW = "enough rows are new"


def is_first_model(evidence: PromotionEvidence, comparison: Comparison) -> bool:
    """Nothing is in production, by every part of the evidence.

    A version that failed, or is not named, is not nothing.
    """
    return (
        evidence.production is None
        and comparison.production is None
        and not evidence.production_error
    )


def size_check(comparison: Comparison, policy: Policy) -> Check:
    """Enough rows of each class to judge by; where not, when there will be."""
    rules, scores = policy.promotion, comparison.candidate
    rarest = min((label.rows for label in scores.classes), default=0)
    counted = rarest if scores.groups is None else min(rarest, scores.groups)
    missing = _tell_missing(comparison, counted, rules)
    return make_check(
        "enough evaluation rows",
        scores.rows >= rules.min_rows
        and enough_of_rarest(rarest, scores.groups, rules.min_rows_per_class),
        Role.GATE,
        f"{rules.min_rows} rows, {tell_wanted(rules.min_rows_per_class, scores.groups)}",
        f"{scores.rows} rows, {tell_rarest(rarest, scores.groups)}{missing}",
        numbers=Numbers(scores.rows, rules.min_rows),
    )


def _tell_missing(comparison: Comparison, rarest: int, rules: PromotionPolicy) -> str:
    """How many more windows would have enough at the rate of those that judged."""
    windows = len(comparison.judged_with) + 1
    missing = (
        windows_to_come(comparison.candidate.rows, rules.min_rows, windows),
        windows_to_come(rarest, rules.min_rows_per_class, windows),
    )
    if missing == (0, 0):
        return ""
    if comparison.held_out:
        return f" in a held-out part of {comparison.window}; newer windows judge whole"
    where = f" in {windows} windows" if windows > 1 else ""
    if missing[0] is None or missing[1] is None:
        return where
    more = max(missing[0], missing[1])
    told = f"{where}: about {more} more window{'' if more == 1 else 's'} would do"
    if windows + more <= rules.max_evaluation_windows:
        return told
    return f"{told}, with max_evaluation_windows = {windows + more} in [policy.promotion]"


def rows_checks(evidence: PromotionEvidence, comparison: Comparison) -> list[Check]:
    """A held-out part of the training window can judge the first model only.

    It shares that window's faults.
    """
    if not comparison.held_out:
        return []
    role = Role.NOTE if is_first_model(evidence, comparison) else Role.GATE
    return [
        make_check(
            "evaluation rows are newer than the training rows",
            False,
            role,
            "a newer labelled window, unless it is the first model",
            f"a held-out part of {comparison.window}",
        )
    ]


def repeated_checks(repeated: RepeatedRows | None, policy: Policy, role: Role) -> list[Check]:
    """Rows that an earlier window holds are left out of judging; too many of them ask a person."""
    if repeated is None:
        return []
    limit = policy.promotion.max_repeated_share
    enough = repeated.rows <= limit * repeated.of
    if enough:
        told = f"{repeated}, and judge no model"
    elif repeated.rows == repeated.of:
        told = f"{repeated}, so {repeated.window} seems to be a copy: take it out of the source"
    else:
        told = (
            f"{repeated}, so each file seems to hold all rows so far: set new_rows = true under "
            "[source] to take only new ones"
        )
    return [
        make_check(
            ENOUGH_NEW,
            enough,
            role,
            f"at most {limit:.0%} of {repeated.window} in windows before it",
            str(repeated),
            summary=told,
            headline=True,
        )
    ]


def learnt_checks(
    evidence: PromotionEvidence, comparison: Comparison, policy: Policy
) -> list[Check]:
    """A candidate that knows no more than production must prove that it is better.

    Twins of the same rows are equal by construction, and an equal is no reason to move.
    """
    if (
        evidence.new_windows is None
        or evidence.new_windows
        or evidence.production_error
        or is_first_model(evidence, comparison)
    ):
        return []
    delta = comparison.delta
    better = None if delta is None else delta.lower > 0
    measure = MEASURES[policy.promotion.measure]
    nothing = f"it has learnt from no window that version {evidence.production} does not know"
    return [
        make_check(
            "it has learnt something new",
            better,
            Role.GATE,
            f"a window that version {evidence.production} does not know, or a significantly better "
            f"{measure.words}",
            "none" if delta is None else f"no such window, {measure.gain} {delta}",
            summary="" if better else nothing,
        )
    ]
