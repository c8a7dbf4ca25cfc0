"""Columns that alone tell the target: `closedloop init` says so above them and on the screen."""

from __future__ import annotations

import textwrap

import pandas as pd

from closedloop.cli.draft.loop_toml import Draft, key_of
from closedloop.decisions.single_column import find_leaks, tell_leak
from closedloop.metrics.single_column import measure_single_columns
from closedloop.training.candidates import labelled_rows
from closedloop.use_case.contract import UseCase
from closedloop.windows.prepare import prepare


def mark_leaks(draft: Draft, frame: pd.DataFrame, use_case: UseCase) -> Draft:
    """The draft with a comment above each column that alone tells the target, and a note on it.

    `use_case` is what the draft says, `frame` are the rows that it was drafted from.
    """
    rows = labelled_rows("the table", 0, prepare(frame, use_case), "", use_case)
    measured = measure_single_columns(rows.frame, rows.labels, use_case)
    text, notes = draft.text, []
    for leak in find_leaks(measured, use_case.policy.promotion.max_single_column_auc):
        told = tell_leak(leak)
        comment = textwrap.wrap(
            told, 98, initial_indent="# ", subsequent_indent="# ", break_long_words=False
        )
        header = f"[columns.{key_of(leak.column)}]\n"
        text = text.replace(f"\n{header}", "\n" + "\n".join(comment) + f"\n{header}", 1)
        notes.append(told)
    return Draft(text, (*notes, *draft.notes))
