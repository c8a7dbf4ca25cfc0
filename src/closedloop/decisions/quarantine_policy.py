"""The numbers of the quarantine of windows with suspect labels."""

from __future__ import annotations

from dataclasses import dataclass

from closedloop.decisions.limits import check_between


@dataclass(frozen=True)
class QuarantinePolicy:
    """Which labelled windows are kept out of training: their labels look wrong rather than new.

    Production's AUC is more than `max_auc_drop` below that on each of its last `memory_windows`
    windows, or the odds of a class are more than `max_odds_ratio` times higher or lower than in
    each of them. Both must be certain at the `confidence` of the promotion: few rows of a class
    keep no window out by chance.
    """

    max_auc_drop: float = 0.10
    """AUC that a window may lie below production's worst recent AUC."""
    max_odds_ratio: float = 8.0
    """Factor by which the odds of a class may change, up or down."""
    memory_windows: int = 3
    """Recent windows that both are compared with."""

    def __post_init__(self) -> None:
        check_between("max_auc_drop", self.max_auc_drop, 0, 1)
        check_between("max_odds_ratio", self.max_odds_ratio, 1, 1e9)
        check_between("memory_windows", self.memory_windows, 1, 1_000)
