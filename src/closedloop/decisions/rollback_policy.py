"""The numbers of the watch after a promotion."""

from __future__ import annotations

from dataclasses import dataclass, field

from closedloop.decisions.fingerprint import ADDED_LATER
from closedloop.decisions.limits import check_between


@dataclass(frozen=True)
class RollbackPolicy:
    """The watch after a promotion.

    For `probation_windows` labelled windows, production that is significantly worse than the
    version it replaced, by more than `max_loss`, is taken back. So is one that fails, is slow or
    answers as it never should, without waiting for labels.
    """

    enabled: bool = True
    """Whether a promotion can be taken back by itself."""
    probation_windows: int = 2
    """Labelled windows after a promotion in which production is compared."""
    confidence: float = 0.95
    """Confidence of the interval around the difference, over all looks of a probation together."""
    max_loss: float = 0.0
    """Production must not be significantly worse than its predecessor by more than this."""
    min_rows: int = 500
    """Labelled rows that the comparison needs, in all windows of the probation together."""
    min_rows_per_class: int = field(default=20, metadata=ADDED_LATER)
    """The same for each class, and if there is a `group` also its least number of groups."""
    min_signal_rows: int = field(default=100, metadata=ADDED_LATER)
    """Rows that a window needs for what is seen without labels."""
    max_same_share: float = field(default=0.99, metadata=ADDED_LATER)
    """Share of rows with one and the same answer; above it the model has stopped telling."""
    max_score_shift: float = field(default=0.3, metadata=ADDED_LATER)
    """How far probabilities may move, 0 to 1, beyond what the version before shows there."""
    min_requests: int = field(default=200, metadata=ADDED_LATER)
    """Calls of production that failures and times need."""
    max_failed_share: float = field(default=0.01, metadata=ADDED_LATER)
    """Share of calls that production may fail on more often than the version before."""
    max_slower: float = field(default=3.0, metadata=ADDED_LATER)
    """How many times slower than the version before it may be, in the median ..."""
    min_slower_ms: float = field(default=20.0, metadata=ADDED_LATER)
    """... where it is slower by these milliseconds at least."""

    def __post_init__(self) -> None:
        check_between("probation_windows", self.probation_windows, 1, 1_000)
        check_between("confidence", self.confidence, 0.5, 0.9999)
        check_between("max_loss", self.max_loss, 0, 1e9)
        check_between("min_rows", self.min_rows, 1, 1e9)
        check_between("min_rows_per_class", self.min_rows_per_class, 1, 1e9)
        check_between("min_signal_rows", self.min_signal_rows, 1, 1e9)
        check_between("max_same_share", self.max_same_share, 0.1, 1)
        check_between("max_score_shift", self.max_score_shift, 0.01, 1)
        check_between("min_requests", self.min_requests, 10, 1e9)
        check_between("max_failed_share", self.max_failed_share, 0, 1)
        check_between("max_slower", self.max_slower, 1, 1e6)
        check_between("min_slower_ms", self.min_slower_ms, 0, 1e6)
