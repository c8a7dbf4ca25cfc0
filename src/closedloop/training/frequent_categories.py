"""The categories that get a column of their own where all of them would not fit into memory."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd


def choose_categories(
    frame: pd.DataFrame, categorical: Sequence[str], most: int
) -> list[list[str]] | None:
    """The categories of each column, sorted: of all columns together the `most` frequent ones.

    A model answers the others as it answers categories that it has not seen. Each column keeps its
    most frequent category. None where there are no more than `most`.
    """
    counts = {name: frame[name].value_counts() for name in categorical}
    if sum(map(len, counts.values())) <= most:
        return None
    every = pd.concat(counts, names=["column", "category"])
    ordered = every.reset_index(name="rows").sort_values(
        ["rows", "column", "category"], ascending=[False, True, True], kind="stable"
    )
    kept = ordered.head(most)
    return [
        sorted(kept.loc[kept["column"] == name, "category"]) or [str(counts[name].index[0])]
        for name in categorical
    ]
