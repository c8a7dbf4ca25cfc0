"""Notes that are shown with a decision: they settle nothing, and nobody should miss them."""

from __future__ import annotations

from closedloop.decisions.checks import Check, Role, make_check
from closedloop.decisions.evidence import Comparison, PromotionEvidence, RetrainingEvidence

NEW_COLUMNS = "columns that loop.toml does not name"
LEFT_OUT = "windows left out of training"
LEARNT_ROWS = "rows learned from"
_SHOWN = 10


def note_new_columns(evidence: RetrainingEvidence) -> list[Check]:
    """Columns of the window that nobody has named so far; empty without one."""
    if not evidence.new_columns:
        return []
    names = ", ".join(evidence.new_columns)
    told = (
        f"{evidence.window.name} has {NEW_COLUMNS}: {names}; the model does not see them, "
        "closedloop doctor shows how to add them"
    )
    return [make_check(NEW_COLUMNS, True, Role.NOTE, "told once", names, summary=told)]


def note_threshold(comparison: Comparison) -> list[Check]:
    """From which probability the second of two classes is answered, and what comes of it."""
    if comparison.threshold is None:
        return []
    positive = comparison.candidate.classes[1]
    return [
        make_check(
            f"probability from which {positive.label} is answered",
            True,
            Role.NOTE,
            "chosen or fixed under [decision]",
            f"{comparison.threshold:.4f}, precision {positive.precision:.3f} and recall "
            f"{positive.recall:.3f} on {comparison.judged_on}",
        )
    ]


def note_left_out(evidence: PromotionEvidence) -> list[Check]:
    """The newest of the windows that the candidate has not learned from; empty without one."""
    named = [f"{name} ({reason})" for name, reason in evidence.left_out]
    if not named:
        return []
    older = len(named) - _SHOWN
    got = (f"{older} older, " if older > 0 else "") + ", ".join(named[-_SHOWN:])
    told = f"{LEFT_OUT}: {got}"
    return [make_check(LEFT_OUT, True, Role.NOTE, "kept out of training", got, summary=told)]


def note_learnt_rows(evidence: PromotionEvidence) -> list[Check]:
    """That memory had room for a part of the labelled rows only; empty where it had for all."""
    if evidence.learnt_rows is None:
        return []
    learnt, labelled = evidence.learnt_rows
    wanted = "all labelled rows, or as many as memory in [compute] has room for"
    return [make_check(LEARNT_ROWS, True, Role.NOTE, wanted, f"{learnt:,} of {labelled:,}")]
