"""What `closedloop doctor` says about columns that alone tell the target."""

from __future__ import annotations

from closedloop.decisions.single_column import find_leaks, tell_leak
from closedloop.errors import ClosedLoopError
from closedloop.metrics.single_column import measure_single_columns
from closedloop.training.candidates import labelled_rows
from closedloop.turn.open import Loop
from closedloop.windows.large_window import sample_window
from closedloop.windows.order import mature
from closedloop.windows.prepare import prepare

_LOOKED_AT = 3


def describe_single_columns(loop: Loop) -> str:
    """The highest AUC of one column on the newest window with enough labels.

    Raises ClosedLoopError when a column alone tells the target, and no person allowed it.
    """
    use_case, names = loop.use_case, loop.source.windows()
    due = mature(names, names[-1], use_case.labels.delay_windows)
    for name in reversed(due[-_LOOKED_AT:]):
        prepared = prepare(sample_window(loop.source, name, use_case), use_case)
        rows = labelled_rows(name, 0, prepared, "", use_case)
        measured = measure_single_columns(rows.frame, rows.labels, use_case)
        if not measured:
            continue
        limit = use_case.policy.promotion.max_single_column_auc
        if leaks := find_leaks(measured, limit):
            told = [tell_leak(leak).partition(": ") for leak in leaks]
            raise ClosedLoopError(
                where=f"window {name}",
                wanted=f"no column with an AUC over {limit:g} by itself",
                got="; ".join(found for found, _, _ in told),
                then="; ".join(advice for _, _, advice in told),
            )
        return f"{measured[0].column} reaches an AUC of {measured[0].auc:.3f} alone, on {name}"
    return (
        f"the newest windows have too few labels of a class to tell ({', '.join(due[-1:]) or '-'})"
    )
