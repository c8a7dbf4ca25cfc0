"""The scores of a candidate as people read them: AUC with its interval, and each class."""

from __future__ import annotations

from statistics import NormalDist

from closedloop.decisions.evidence import ClassScores, Comparison, Scores

CLASS_HEAD = ("class", "rows", "precision", "recall", "F1")


def tell_auc(scores: Scores, confidence: float) -> str:
    """Val_auc with its interval, clipped to 0 to 1; macro one-versus-rest for many classes."""
    if scores.val_auc is None:
        return "unknown: a class has no row"
    if scores.val_auc_error is None:
        return f"{scores.val_auc:.4f}"
    half = NormalDist().inv_cdf((1 + confidence) / 2) * scores.val_auc_error
    lower, upper = max(0.0, scores.val_auc - half), min(1.0, scores.val_auc + half)
    return f"{scores.val_auc:.4f} [{lower:.4f}, {upper:.4f}]"


def tell_classes(comparison: Comparison) -> tuple[tuple[str, ...], ...]:
    """The cells of `CLASS_HEAD` for each class; production on the same rows in brackets."""
    live = comparison.production
    before = {part.label: part for part in live.classes} if live else {}
    return tuple(
        (part.label, f"{part.rows:,}", *_tell_class(part, before.get(part.label)))
        for part in comparison.candidate.classes
    )


def _tell_class(part: ClassScores, before: ClassScores | None) -> tuple[str, ...]:
    return tuple(
        f"{getattr(part, name):.4f}" + (f" ({getattr(before, name):.4f})" if before else "")
        for name in ("precision", "recall", "f1")
    )
