"""Gates about rows: what a candidate was judged on, and what it learnt."""

from __future__ import annotations

from closedloop.decisions.checks import Check, Role, make_check
from closedloop.decisions.deciding_measure import MEASURES
from closedloop.decisions.evidence import Comparison, PromotionEvidence
from closedloop.decisions.policy import Policy
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
