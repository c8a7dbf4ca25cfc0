"""What stands beside the scores that `closedloop predict` writes, so that rows can be matched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from closedloop.errors import SourceError
from closedloop.windows.tables.chunks import Chunk, ChunkReader

ROW = "row"


def choose_kept(
    reader: ChunkReader,
    key: str | None,
    scores: Sequence[str],
    table: Path,
    *,
    keep_columns: bool,
) -> tuple[str, ...]:
    """The columns of the table that OUT has too, beside `scores`: all, or the key if it is there.

    Raises SourceError when one of them cannot stand there under its name.
    """
    if not keep_columns:
        kept = tuple(name for name in reader.names if name == key)[:1]
        _refuse_taken(kept, scores, table, "")
        return kept
    otherwise = ", or leave out --keep-columns"
    if reader.nameless:
        raise SourceError(
            where=str(table),
            wanted="a name for every column that is kept",
            got=f"no name for column {', '.join(map(str, reader.nameless))}",
            then=f"name it in the file{otherwise}",
        )
    if repeated := [name for name, times in Counter(reader.names).items() if times > 1]:
        raise SourceError(
            where=str(table),
            wanted="columns with different names",
            got=f"several columns named {', '.join(repeated)}",
            then=f"rename them in the file{otherwise}",
        )
    _refuse_taken(reader.names, scores, table, otherwise)
    return reader.names


def number_rows(chunk: Chunk) -> Mapping[str, Any]:
    """The numbers of the rows in their table, from 1."""
    return {ROW: np.arange(len(chunk.frame), dtype=np.int64) + chunk.first_row}


def _refuse_taken(kept: Sequence[str], scores: Sequence[str], table: Path, otherwise: str) -> None:
    if taken := [name for name in scores if name in kept]:
        raise SourceError(
            where=str(table),
            wanted=f"other names than those of the scores: {', '.join(scores)}",
            got=f"a column {', '.join(taken)}",
            then=f"rename it in the file{otherwise}",
        )
