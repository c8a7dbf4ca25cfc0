"""Evidence of what newer labels would have gained: frozen facts, as in `evidence`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gain:
    """What newer labels would have gained on the window `on`, in the measure that decides.

    Two small models of production's recipe answer its `rows` rows: one learnt from the windows that
    production knows, the other from the newer ones, too. `value` is the second minus the first,
    `error` its standard error. Without rows nothing was asked: production knows all these labels.
    """

    on: str
    value: float
    error: float
    rows: int
