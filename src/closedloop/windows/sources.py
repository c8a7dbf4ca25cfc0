"""What a source of windows is, and a chain of two sources.

Columns come as they are stored: `prepare` gives them their types, and the contract check reports
missing columns.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from closedloop.errors import SourceError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

# Where a frame of raw rows keeps sentences for people about its reading: `frame.attrs[NOTES]`.
NOTES = "notes"
_CHUNK_ROWS = 50_000


class NoWindows(SourceError):
    """The source can be read but holds no window."""


class UnreadableWindow(SourceError):
    """One window is there but its rows cannot be read; the others may well be."""


class WindowSource(Protocol):
    """Something that holds windows of raw rows."""

    def windows(self) -> tuple[str, ...]:
        """Names in time order.

        Raises NoWindows when there are none, SourceError when they cannot be listed.
        """

    def read(self, window: str) -> pd.DataFrame:
        """The raw rows of one window; what a person should know of the reading stands in `NOTES`.

        Raises UnreadableWindow when the fault is in the window itself, SourceError when it is
        unknown or the source does not answer.
        """


def require_window(window: str, windows: tuple[str, ...], where: str) -> None:
    """Raise SourceError with the nearest names unless `window` is one of `windows`."""
    if window not in windows:
        near = difflib.get_close_matches(window, windows, n=3, cutoff=0.3) or windows[-3:]
        raise SourceError(
            where=where,
            wanted=f"one of its {len(windows)} windows",
            got=repr(window),
            then=f"did you mean {' or '.join(near)}?",
        )


def first_line(error: Exception) -> str:
    """The first line of the driver's own message, or the name of the error."""
    text = str(getattr(error, "orig", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__


@runtime_checkable
class InChunks(Protocol):
    """A source whose windows may be larger than memory."""

    def chunks(self, window: str, rows: int) -> Iterator[pd.DataFrame]:
        """The raw rows of one window in their order, about `rows` at a time.

        The last chunk has up to twice as many, so a small window is one chunk: what `read` returns.
        Raises as `read`.
        """


def read_chunks(
    source: WindowSource, window: str, rows: int = _CHUNK_ROWS
) -> Iterator[pd.DataFrame]:
    """As `InChunks.chunks`; all rows at once where the source knows no other way."""
    if isinstance(source, InChunks):
        yield from source.chunks(window, rows)
    else:
        yield source.read(window)


def regroup(parts: Iterator[pd.DataFrame], rows: int) -> Iterator[pd.DataFrame]:
    """Parts of any size, at least one, as `InChunks.chunks` has them."""
    waiting: list[pd.DataFrame] = []
    number = 0
    for part in parts:
        waiting.append(part)
        number += len(part)
        while number >= 2 * rows:
            together = _join(waiting)
            yield together.iloc[:rows].reset_index(drop=True)
            waiting, number = [together.iloc[rows:].reset_index(drop=True)], number - rows
            waiting[0].attrs.clear()
    yield _join(waiting)


def choose_rows(
    parts: Iterable[pd.DataFrame], chosen: NDArray[np.bool_], where: str
) -> Iterator[pd.DataFrame]:
    """Those of the rows that were `chosen` when they were read before.

    Raises SourceError when they are not as many any more.
    """
    first = 0
    for part in parts:
        here = chosen[first : first + len(part)]
        first += len(part)
        if first > len(chosen):
            break
        yield part[here].reset_index(drop=True)
    if first != len(chosen):
        raise SourceError(
            where=where,
            wanted="the rows of a moment ago",
            got="more or fewer: somebody writes to them",
            then="run the command again when they are complete",
        )


def _join(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all parts, with the notes of the first."""
    import pandas as pd

    filled = [part for part in parts if len(part)] or parts[:1]
    together = pd.concat(filled, ignore_index=True) if len(filled) > 1 else filled[0]
    together.attrs.update(parts[0].attrs)
    return together


@runtime_checkable
class TellsRemarks(Protocol):
    """A source that knows of rows which are in none of its windows."""

    def remarks(self) -> tuple[str, ...]:
        """What is in no window, in words."""


def tell_remarks(source: WindowSource) -> tuple[str, ...]:
    """What is in no window of a source, in words."""
    return source.remarks() if isinstance(source, TellsRemarks) else ()


@dataclass(frozen=True)
class ChainedSource:
    """The windows of `first`, then those of `then`; a name in both is read from `first`."""

    first: WindowSource
    then: WindowSource

    def windows(self) -> tuple[str, ...]:
        earlier, later = _names(self.first), _names(self.then)
        if not earlier and not later:
            self.first.windows()  # raises NoWindows with its advice
        return (*earlier, *(name for name in later if name not in earlier))

    def read(self, window: str) -> pd.DataFrame:
        if window in _names(self.first):
            return self.first.read(window)
        require_window(window, self.windows(), "source")
        return self.then.read(window)

    def chunks(self, window: str, rows: int) -> Iterator[pd.DataFrame]:
        """As `InChunks.chunks`."""
        if window not in _names(self.first):
            require_window(window, self.windows(), "source")
        source = self.first if window in _names(self.first) else self.then
        yield from read_chunks(source, window, rows)


def _names(source: WindowSource) -> tuple[str, ...]:
    try:
        return source.windows()
    except NoWindows:
        return ()
