"""Which labelled windows are kept out of training, because their labels are more likely wrong than
new."""

from __future__ import annotations

from closedloop.decisions.evidence import Estimate
from closedloop.decisions.policy import QuarantinePolicy


def is_quarantined(
    auc: Estimate, earlier: tuple[float, ...], expected: float | None, policy: QuarantinePolicy
) -> bool:
    """Is production's AUC on a window, all of its interval, too far below the worst of its last
    windows to trust the labels?

    While fewer windows than `memory_windows` were judged, the AUC that production was promoted with
    (`expected`) is one of them; when that is unknown too, nothing is kept out.
    """
    recent = earlier[-policy.memory_windows :]
    if len(recent) < policy.memory_windows:
        if expected is None:
            return False
        recent = (*recent, expected)
    return auc.upper < min(recent) - policy.max_auc_drop


def labels_shifted(
    counts: tuple[int, ...], earlier: tuple[tuple[int, ...], ...], policy: QuarantinePolicy
) -> bool:
    """Are the odds of a class too far from those in each of the last windows to trust the labels?

    Rows by class, of the window and of earlier ones, oldest first. Without an earlier window
    nothing is known, and nothing is kept out.
    """

    def far(one: int, rows: int, other: int, others: int) -> bool:
        # Half a row more on each side: a class that happens to be absent has odds, too (Haldane
        # 1956, Annals of Human Genetics 20:309).
        ratio = ((one + 0.5) / (rows - one + 0.5)) / ((other + 0.5) / (others - other + 0.5))
        return max(ratio, 1 / ratio) > policy.max_odds_ratio

    recent = earlier[-policy.memory_windows :]
    return bool(recent) and any(
        all(far(count, sum(counts), before[label], sum(before)) for before in recent)
        for label, count in enumerate(counts)
    )
