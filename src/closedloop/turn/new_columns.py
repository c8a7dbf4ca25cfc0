"""Columns of a window that nobody has named: each is told once."""

from __future__ import annotations

import json

from closedloop.decisions.checks import Kind
from closedloop.turn.compute import ReadWindow
from closedloop.turn.history import History
from closedloop.turn.ports import Parts
from closedloop.use_case.contract import UseCase


def find_new_columns(history: History[Parts], window: ReadWindow) -> tuple[str, ...]:
    """Columns of the window that neither loop.toml nor an earlier look knows."""
    # A turn that ends with a rollback tells nothing of columns.
    turns = (entry for entry in history.entries if entry.decision.kind is Kind.RETRAINING)
    looks = [entry.turn.window for entry in turns]
    known = {name for look in looks if look for name in look.unnamed_columns}
    new = [name for name in window.unnamed_columns if name not in known]
    left_out = read_left_out(history.loop.use_case) if new else ""
    return tuple(name for name in new if not is_left_out(name, left_out))


def read_left_out(use_case: UseCase) -> str:
    """The comments of loop.toml, which name the columns that were left out on purpose."""
    try:
        lines = use_case.path.read_text(encoding="utf-8").splitlines()
    except OSError:  # a use case of a program, without a file
        return ""
    return "\n".join(line for line in lines if line.lstrip().startswith("#"))


def is_left_out(column: str, comments: str) -> bool:
    """Whether a comment names the column in quotes, as `init` does: `# left out: "NAME" is ...`."""
    return json.dumps(column, ensure_ascii=False) in comments
