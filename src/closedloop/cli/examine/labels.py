"""What `closedloop doctor` says about labels that are none of the classes."""

from __future__ import annotations

from closedloop.errors import SourceError
from closedloop.turn.open import Loop
from closedloop.windows.contract_check import MAX_UNKNOWN_LABELS
from closedloop.windows.large_window import sample_window
from closedloop.windows.prepare import prepare
from closedloop.windows.unknown_labels import (
    count_unknown_labels,
    tell_how_to_add,
    tell_left_out,
)

# So many are looked at: reading a long history takes longer than people wait for the doctor.
_WINDOWS = 24


def describe_labels(loop: Loop) -> str:
    """The labels of the newest windows, held against the classes of loop.toml.

    Raises SourceError for windows in which too many are unknown: such a window is not trained on.
    """
    target, told = loop.use_case.target, []
    for name in loop.source.windows()[-_WINDOWS:]:
        raw = sample_window(loop.source, name, loop.use_case)
        unknown = count_unknown_labels(raw, prepare(raw, loop.use_case), loop.use_case)
        if unknown.share > MAX_UNKNOWN_LABELS:
            raise SourceError(
                where=f"labels of {name}",
                wanted=" or ".join(target.classes),
                got=f"{unknown.rows:,} of {unknown.given:,} others: {unknown}",
                then="correct the labels, or add the class: " + tell_how_to_add(unknown, target),
            )
        told += [f"{name}: {sentence}" for sentence in tell_left_out(unknown, target)]
    return ". ".join(told) or f"all of them are {' or '.join(target.classes)}"
