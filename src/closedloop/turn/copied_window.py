"""A window that is by its name a copy of another is for a person: which of the two is right?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from closedloop.decisions.evidence import Violation
from closedloop.turn.compute import ReadWindow
from closedloop.windows.copied_names import find_copies

COPY = "copy"


def refuse_copy(read: ReadWindow, names: Sequence[str]) -> ReadWindow:
    """The window as it was read; one that is a copy of another breaks the contract.

    No model learns from the rows of a window twice, and none is judged on them.
    """
    name = read.facts.name
    original = find_copies(names).get(name)
    if original is None:
        return read
    got = (
        f"{name}, by its name a copy of {original}: move one of the two out of the folder, or "
        "narrow `windows` in [source]"
    )
    violation = Violation("(window)", COPY, "each window once", got)
    return replace(read, violations=(violation, *read.violations))
