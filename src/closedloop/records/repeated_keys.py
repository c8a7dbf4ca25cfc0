"""Keys that were asked about more than once in a window: the newest answer of each counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from closedloop.use_case.contract import UseCase
from closedloop.windows.sources import NOTES
from closedloop.windows.spelling import spell

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def keep_newest(frame: pd.DataFrame, use_case: UseCase) -> pd.DataFrame:
    """The newest row of every key, in the order given, which is oldest first.

    A note says how many rows were replaced. A label belongs to what the key names: a newest row
    without one takes that of the newest row of its key that has one.
    """
    if use_case.key is None:
        return frame
    keys = frame[use_case.key].to_numpy()
    (kept,) = keep_newest_of_chunks([frame], [keys], use_case)
    return kept


def keep_newest_of_chunks(
    chunks: Iterable[pd.DataFrame], keys: Iterable[NDArray[Any]], use_case: UseCase
) -> Iterator[pd.DataFrame]:
    """The same of rows that come in chunks, where `keys` are those of all rows, known before.

    The note is at the first chunk. A row costs some ten bytes, and more if its key is repeated.
    """
    if use_case.key is None:
        yield from chunks
        return
    replaced, repeated = _find_repeated(keys)
    notes, first = _tell(int(replaced.sum())), 0
    known: dict[str, Any] = {}
    for chunk in chunks:
        here = slice(first, first + len(chunk))
        first += len(chunk)
        if repeated[here].any():
            chunk = _carry_labels(chunk, use_case, replaced[here], repeated[here], known)
            chunk = chunk[~replaced[here]].reset_index(drop=True)
        if notes:
            chunk.attrs[NOTES] = notes
        yield chunk
        notes = ()


def _tell(count: int) -> tuple[str, ...]:
    if not count:
        return ()
    return (
        f"{count} {'answer was' if count == 1 else 'answers were'} followed by a newer answer for "
        "the same key: the newest of each counts",
    )


def _find_repeated(keys: Iterable[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Which rows have a newer one of the same key, and which have any other of the same key."""
    import numpy as np
    import pandas as pd

    # By 64 bits of each: that two of ten million keys share them has a chance of 3 in a million.
    marks = [pd.util.hash_array(_spell(part)) for part in keys]
    every = pd.Series(np.concatenate([np.empty(0, np.uint64), *marks]))
    return every.duplicated(keep="last").to_numpy(), every.duplicated(keep=False).to_numpy()


def _spell(keys: NDArray[Any]) -> NDArray[Any]:
    """As the contract reads them."""
    import numpy as np

    spelling = str.strip if {str}.issuperset(map(type, keys)) else spell
    return np.fromiter(map(spelling, keys), object, len(keys))


def _carry_labels(
    chunk: pd.DataFrame,
    use_case: UseCase,
    replaced: NDArray[Any],
    repeated: NDArray[Any],
    known: dict[str, Any],
) -> pd.DataFrame:
    """The label of a replaced row goes to the row that stays; `known` are those on the way."""
    import pandas as pd

    assert use_case.key is not None
    target = use_case.target.column
    keys, labels = _spell(chunk[use_case.key].to_numpy()), chunk[target].to_numpy(copy=True)
    for row in repeated.nonzero()[0]:
        if labels[row] is not None:
            known[keys[row]] = labels[row]
        if not replaced[row]:  # the last of its key
            labels[row] = known.pop(keys[row], None)
    return chunk.assign(**{target: pd.Series(labels, dtype=object, index=chunk.index)})
