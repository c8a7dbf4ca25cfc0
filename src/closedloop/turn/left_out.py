"""Which windows a candidate has not learned from, and why: no window drops out in silence."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from closedloop.decisions.evidence import Violation
from closedloop.errors import SourceError
from closedloop.training.candidates import LabelledWindow
from closedloop.turn.copied_window import COPY
from closedloop.turn.history import History
from closedloop.turn.ports import Parts


def find_left_out(history: History[Parts], trained: Collection[str]) -> tuple[tuple[str, str], ...]:
    """The windows with due labels that are not among `trained`, each with the reason."""
    return tuple((name, _explain(history, name)) for name in history.due if name not in trained)


def _explain(history: History[Parts], name: str) -> str:
    read = history.read(name)
    if read.violations:
        return "; ".join(_name_violation(violation) for violation in read.violations)
    return "quarantined" if len(read.labelled.labels) else "no labels"


def _name_violation(violation: Violation) -> str:
    if violation.rule == "missing":
        return f"no column {violation.column}"
    if violation.rule == "empty":
        return "no rows"
    if violation.rule == COPY:
        return "a copy"
    return f"{violation.column}: {violation.rule}"


def require_windows(history: History[Parts], windows: Sequence[LabelledWindow]) -> None:
    """Raise SourceError that names the windows left out if none remains."""
    if windows or not history.due:
        return
    reasons = ", ".join(f"{name} ({reason})" for name, reason in find_left_out(history, ()))
    raise SourceError(
        where="training",
        wanted="a window with labels that keeps the contract",
        got=f"none; left out: {reasons}",
        then="correct the rows, or [columns] in loop.toml (since or optional for a column that "
        "windows lack)",
    )
