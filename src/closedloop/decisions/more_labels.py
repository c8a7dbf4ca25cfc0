"""How many more labels would settle what is unknown."""

from __future__ import annotations

from math import ceil, floor, inf, log10

from closedloop.decisions.evidence import Estimate

# Beyond so many times the labels there are, a difference is too small to wait for.
_MOST_TIMES = 100
# Wider intervals, in differences, are as good as endless, and their square must be a number.
_MOST_REACH = 1e6


def rows_that_settle(found: Estimate, difference: float) -> int | None:
    """Rows on which this difference, if seen there again, would be outside the interval.

    At the spread of the rows behind `found`: a standard error falls with the square root of the
    rows. None where that is unknown, because nothing differs or spreads.
    """
    reach = (found.upper - found.lower) / 2
    if not (0 < reach < inf and difference):
        return None
    return ceil(found.rows * min(reach / abs(difference), _MOST_REACH) ** 2)


def tell_what_settles(found: Estimate, limit: float, smallest: float, rarest: int) -> str:
    """The labels that would show on which side of the limit the truth is; empty when that is known.

    For a difference as far from the limit as the one that was seen, or `smallest` if that is more.
    `rarest` are rows of the rarest class among those of `found`.
    """
    if not found.lower <= limit <= found.upper:
        return ""
    rows = rows_that_settle(found, max(smallest, abs(found.value - limit)))
    if rows is None or rows <= found.rows:
        return ""
    if rows > _MOST_TIMES * found.rows:
        return f"even {_MOST_TIMES} times these labels would not tell a difference as small as this"
    of_rarest = ceil(rarest * rows / found.rows)
    return (
        f"about {_round_up(rows):,} labelled rows, {_round_up(of_rarest):,} of the rarest class, "
        "would tell a difference like this"
    )


def windows_to_come(there: int, wanted: int, windows: int) -> int | None:
    """Windows until there are `wanted` rows, when `windows` of them held those that are `there`.

    None when that is unknown, because there are none yet.
    """
    if there >= wanted:
        return 0
    return ceil((wanted - there) * windows / there) if there and windows > 0 else None


def _round_up(number: int) -> int:
    """The next whole number with two digits that are not 0."""
    step: int = 10 ** max(0, floor(log10(max(number, 1))) - 1)
    return ceil(number / step) * step
