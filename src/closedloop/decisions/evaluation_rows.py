"""Gates about rows: what a candidate was judged on, and what it learnt."""

from __future__ import annotations

from closedloop.decisions.checks import Check, Role, make_check
from closedloop.decisions.evidence import Comparison, PromotionEvidence


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


def learnt_checks(evidence: PromotionEvidence, comparison: Comparison) -> list[Check]:
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
    nothing = f"it has learnt from no window that version {evidence.production} does not know"
    return [
        make_check(
            "it has learnt something new",
            better,
            Role.GATE,
            f"a window that version {evidence.production} does not know, or a significantly better "
            "AUC",
            "none" if delta is None else f"no such window, AUC {delta}",
            summary="" if better else nothing,
        )
    ]
