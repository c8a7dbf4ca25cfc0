"""Keys that were asked about more than once in a window: the newest answer of each counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from closedloop.use_case.contract import UseCase
from closedloop.windows.sources import NOTES
from closedloop.windows.spelling import spell

if TYPE_CHECKING:
    import pandas as pd


def keep_newest(frame: pd.DataFrame, use_case: UseCase) -> pd.DataFrame:
    """The newest row of every key, in the order given, which is oldest first.

    A note says how many rows were replaced. A label belongs to what the key names: a newest row
    without one takes that of the newest row of its key that has one.
    """
    if use_case.key is None:
        return frame
    target, keys = use_case.target.column, frame[use_case.key].map(spell)
    replaced = keys.duplicated(keep="last")
    if not replaced.any():
        return frame
    import pandas as pd

    known = dict(zip(keys, frame[target], strict=True)) | {
        key: label for key, label in zip(keys, frame[target], strict=True) if label is not None
    }
    labels = pd.Series([known[key] for key in keys], dtype=object, index=frame.index)
    kept = frame.assign(**{target: labels})[~replaced].reset_index(drop=True)
    count = int(replaced.sum())
    kept.attrs[NOTES] = (
        f"{count} {'answer was' if count == 1 else 'answers were'} followed by a newer answer for "
        "the same key: the newest of each counts",
    )
    return kept
