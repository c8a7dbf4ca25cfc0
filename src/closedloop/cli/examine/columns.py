"""What `closedloop doctor` says about columns that loop.toml does not name, and about windows that
lack one that it names."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import pandas as pd

from closedloop.cli.draft.columns import describe_column
from closedloop.cli.draft.loop_toml import key_of
from closedloop.errors import ClosedLoopError
from closedloop.turn.new_columns import is_left_out, read_left_out
from closedloop.turn.open import Loop
from closedloop.use_case.toml_text import quote
from closedloop.windows.large_window import sample_window
from closedloop.windows.order import columns_not_yet
from closedloop.windows.prepare import select_column

_SHOWN = 5


def describe_columns(loop: Loop) -> str:
    """The columns of the newest window that loop.toml does not name, with the lines that add them.

    Raises ClosedLoopError when older windows lack a column that the newest one has, so that no
    model learns from them.
    """
    names, use_case = loop.source.windows(), loop.use_case
    newest, known = sample_window(loop.source, names[-1], loop.use_case), use_case.columns
    _refuse_lost_windows(loop, names, newest)
    named = {*known, use_case.key, use_case.group, use_case.target.column}
    left_out = read_left_out(use_case)
    new = [
        str(name)
        for name in newest.columns
        if str(name) not in named and not is_left_out(str(name), left_out)
    ]
    if not new:
        return f"loop.toml names every column of {names[-1]}, or says that it is left out"
    drafts = [_draft(loop, names, newest, name) for name in new[:_SHOWN]]
    more = f"\nand {len(new) - _SHOWN} more" if len(new) > _SHOWN else ""
    return (
        f"{names[-1]} has {len(new)} that loop.toml does not name: {', '.join(new)}; "
        'add the lines of those to use; a comment such as # left out: "NAME" silences this:\n'
        + "\n".join(drafts)
        + more
    )


def _refuse_lost_windows(loop: Loop, names: Sequence[str], newest: pd.DataFrame) -> None:
    columns = loop.use_case.columns
    oldest = sample_window(loop.source, names[0], loop.use_case)
    excused = columns_not_yet(columns, names, names[0])
    lost = [
        name
        for name in loop.use_case.required
        if name in newest.columns and name not in oldest.columns and name not in excused
    ]
    if not lost:
        return
    first = _first_with(loop, names, lost[0])
    raise ClosedLoopError(
        where=f"{names[0]} to {names[first - 1]}" if first > 1 else names[0],
        wanted="every column of loop.toml",
        got=f"no {', '.join(lost)}, so no model learns from these windows",
        then=f"add to [columns.{key_of(lost[0])}]: since = {quote(names[first])} "
        "(older windows count it as null), or optional = true",
    )


def _first_with(loop: Loop, names: Sequence[str], column: str) -> int:
    """Where the column begins; once it is there, it stays."""

    def has(name: str) -> bool:
        return column in sample_window(loop.source, name, loop.use_case).columns

    return bisect_left(names, True, key=has)


def _draft(loop: Loop, names: Sequence[str], newest: pd.DataFrame, name: str) -> str:
    """The lines of [columns.NAME] as `init` writes them, or the comment that it leaves instead."""
    feature = describe_column(name, select_column(newest, name))
    if feature.left_out:
        return f"# left out: {quote(name)} is {feature.left_out}"
    lines = [f"[columns.{key_of(name)}]", *feature.lines]
    if first := _first_with(loop, names, name):
        lines.append(f"since = {quote(names[first])}  # older windows count it as null")
    return "\n".join(lines)
