"""Rows that belong together: all those of one customer, one booking or one day.

They are alike, so ten of them tell less than ten rows of ten customers. Whoever measures how sure a
score is takes each group as one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.errors import SourceError
from closedloop.use_case.contract import MISSING, UseCase

Groups = NDArray[np.integer[Any]]


def number_groups(use_case: UseCase, *frames: pd.DataFrame) -> Groups | None:
    """The number of each row's group, shape (n,), over all prepared frames one after the other.

    Equal values are one group, in whichever frame they are; a row without a value is a group of
    its own. None when the use case has no group column. Raises SourceError for a frame without it.
    """
    group = use_case.group
    if group is None:
        return None
    if not all(group in frame for frame in frames):
        raise SourceError(
            where=f"group = {group}",
            wanted="a column of this name in every window",
            got="none",
            then="add it to the table or the query, or remove group from loop.toml",
        )
    return number_values(pd.concat([frame[group] for frame in frames], ignore_index=True))


def number_values(values: pd.Series[Any]) -> Groups:
    """The number of each value, shape (n,): equal ones share it, and a missing one has its own."""
    codes, found = pd.factorize(values.where(values != MISSING))
    alone = codes < 0
    codes[alone] = len(found) + np.arange(alone.sum())
    return np.asarray(codes)
