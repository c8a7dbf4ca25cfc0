"""Which rows of a labelled window may judge a model: those that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from closedloop.decisions.repeated_rows import RepeatedRows
from closedloop.training.candidates import LabelledWindow
from closedloop.turn.history import History
from closedloop.turn.ports import Parts
from closedloop.windows.repeated_rows import find_repeated


@dataclass(frozen=True)
class NewRows:
    """The labelled rows of a window that some earlier windows do not hold.

    `kept` says which rows of the window they are; `repeated` counts the others, None without any.
    """

    window: LabelledWindow
    kept: NDArray[np.bool_]
    repeated: RepeatedRows | None


def keep_new_rows(
    history: History[Parts], judged: LabelledWindow, earlier: Iterable[str]
) -> NewRows:
    """The rows of a window that none of the `earlier` windows holds.

    Of windows that no longer exist nothing is known: their rows count as new.
    """
    ours = history.loop.compute.mark_rows(judged, history.loop.use_case)
    kept, sharing = np.ones(len(judged.labels), dtype=np.bool_), []
    others = set(earlier) - {judged.name}
    for name in (name for name in history.names if name in others):
        found = find_repeated(ours, history.marks(name))
        if found.any():
            kept &= ~found
            sharing.append(name)
    if kept.all():
        return NewRows(judged, kept, None)
    repeated = RepeatedRows(
        window=judged.name,
        rows=int((~kept).sum()),
        of=len(kept),
        earlier=tuple(sharing),
        by_key=ours.by_key,
    )
    window = replace(judged, frame=judged.frame[kept], labels=judged.labels[kept])
    return NewRows(window, kept, repeated)


def keep_judging_rows(
    history: History[Parts], judged: LabelledWindow, earlier: Iterable[str]
) -> NewRows:
    """As `keep_new_rows`, but all rows where none is new.

    Something has to be scored. A window without new rows is escalated, whatever the scores are.
    """
    found = keep_new_rows(history, judged, earlier)
    return found if found.kept.any() else replace(found, window=judged, kept=~found.kept)


def trained_windows(history: History[Parts]) -> tuple[str, ...]:
    """The windows that production was trained on; none without a production that loads."""
    return history.bundle.facts.trained_windows if history.bundle else ()
