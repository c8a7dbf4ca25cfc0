"""The numbers of drift: what a window is compared with, and how column limits are set."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from closedloop.decisions.fingerprint import ADDED_LATER
from closedloop.decisions.limits import check_between

TRAINING, PREVIOUS = "training", "previous"
LONGEST_SEASON = 1_000
_SEASON = re.compile(r"season:([1-9]\d{0,3})", re.ASCII)


@dataclass(frozen=True)
class DriftPolicy:
    """What a window is compared with, and how column limits are set.

    A limit is the larger of Evidently's default distance and what same-sized random parts of the
    reference show between themselves, at `false_alarm_rate` over all columns together.
    """

    min_distance: float = 0.1
    """A column's limit is at least this distance, which is Evidently's default."""
    false_alarm_rate: float = 0.01
    """Share of windows without drift in which any column may seem to drift."""
    sample_rows: int = 5000
    """Rows of each side that limits are drawn with; distances are measured on all rows."""
    resamples: int = 100
    """Random parts of the reference that are drawn to set the limits."""
    reference: str = field(default=TRAINING, metadata=ADDED_LATER)
    """What a window is compared with: `"training"`, the rows that production was trained on;
    `"previous"`, the window before; `"season:12"`, the window 12 places before, so this July with
    last July. Any number of windows from 2 on is a season."""

    def __post_init__(self) -> None:
        check_between("min_distance", self.min_distance, 0.001, 10)
        check_between("false_alarm_rate", self.false_alarm_rate, 0.0001, 0.5)
        check_between("sample_rows", self.sample_rows, 100, 1_000_000)
        check_between("resamples", self.resamples, 20, 10_000)
        if self.reference not in (TRAINING, PREVIOUS):
            found = _SEASON.fullmatch(self.reference)
            if found is None or not 2 <= int(found[1]) <= LONGEST_SEASON:
                raise ValueError(
                    f'reference must be "{TRAINING}", "{PREVIOUS}" or "season:N" with the windows '
                    f'of a season, 2 to {LONGEST_SEASON}, got "{self.reference}"'
                )

    @property
    def season(self) -> int | None:
        """Windows from one place in a season to the next; None where the reference is no season."""
        found = _SEASON.fullmatch(self.reference)
        return None if found is None else int(found[1])
