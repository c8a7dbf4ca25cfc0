"""The next part of a table is read while the one before it is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")


def read_ahead(parts: Iterator[Part]) -> Iterator[Part]:
    """The same parts, each read by a thread of its own: at most one lies ready in memory.

    What `parts` raises is raised here.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(next, parts, None)
        while (part := coming.result()) is not None:
            coming = thread.submit(next, parts, None)
            yield part
