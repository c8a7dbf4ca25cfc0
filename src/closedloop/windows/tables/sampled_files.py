"""The rows of several files written alike, or a sample of them when there are many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.use_case.source import Source
from closedloop.windows.tables.chunks import open_table
from closedloop.windows.tables.row_sample import RowSampler


@dataclass(frozen=True)
class SampledFiles:
    """The rows of each file that are looked at, oldest file first.

    `files` has the number of all their rows, `places` where those looked at are among all, from 0.
    `whole` is the column of which all values were asked for, `nameless` are columns without a name.
    """

    frames: Mapping[Path, pd.DataFrame]
    files: tuple[tuple[Path, int], ...]
    places: NDArray[np.int64]
    whole: pd.Series[Any] | None
    nameless: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Of all files."""
        return sum(rows for _, rows in self.files)


def sample_files(
    newest: Path,
    older: Sequence[Path],
    source: Source,
    *,
    most_rows: float,
    most_looked_at: float,
    whole: str | None,
) -> SampledFiles:
    """Read a file and, newest first, those before it until there are `most_rows`.

    Of more than `most_looked_at` rows it keeps a sample, and all values of the column `whole`.
    Raises SourceError when a file cannot be read to the end.
    """
    reader, sampler = open_table(newest, source), RowSampler(most_looked_at)
    samples = {newest: reader.sample(sampler, whole)}
    for path in reversed(older):
        if sum(sample.rows for sample in samples.values()) >= most_rows:
            break
        samples[path] = open_table(path, source).sample(sampler, whole)
    paths = list(reversed(samples))
    kept = sampler.cut_all(samples[path] for path in paths)
    before = np.cumsum([0, *(sample.rows for sample in kept)])
    columns = [sample.whole for sample in kept if sample.whole is not None]
    return SampledFiles(
        {path: sample.frame for path, sample in zip(paths, kept, strict=True)},
        tuple((path, sample.rows) for path, sample in zip(paths, kept, strict=True)),
        np.concatenate(
            [sample.places + first for sample, first in zip(kept, before, strict=False)]
        ),
        pd.concat(columns, ignore_index=True) if columns else None,
        reader.nameless,
    )
