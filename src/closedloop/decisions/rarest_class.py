"""How many rows there are of the rarest class, and where rows belong together how many groups.

An interval keeps its promise when there is enough of each class. Rows of one group tell little more
than one of them, so groups are counted where there are any.
"""

from __future__ import annotations


def enough_of_rarest(rows: int, groups: int | None, wanted: int) -> bool:
    """Whether there are so many rows of the rarest class, and if rows belong together groups."""
    return min(rows, rows if groups is None else groups) >= wanted


def tell_rarest(rows: int, groups: int | None) -> str:
    """What there is of the rarest class, in words."""
    return f"{rows} of the rarest class" + ("" if groups is None else f" in {groups} groups")


def tell_wanted(rows: int, groups: int | None) -> str:
    """What is wanted of each class, in words."""
    return f"{rows} of each class" + ("" if groups is None else f" in {rows} groups")
