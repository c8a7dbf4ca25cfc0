"""An estimate against its limit, as the numbers of a check."""

from __future__ import annotations

from closedloop.decisions.checks import Numbers
from closedloop.decisions.evidence import Estimate


def against(estimate: Estimate | None, limit: float) -> Numbers:
    """The value, its interval and the limit; without a value the limit alone."""
    if estimate is None:
        return Numbers(limit=limit)
    return Numbers(estimate.value, limit, estimate.lower, estimate.upper)
