"""How much of a large window is held in memory at once."""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNITS = {"MiB": 2**20, "GiB": 2**30}
_LEAST = 2**29
_FEWEST = 10_000  # below that, what is measured is too uncertain to decide on
# Measured (`make bench-scale`): what Python and its libraries take without any row, and what a
# value takes in a turn with three large windows, with all its copies.
_BASE_BYTES = 600 * 2**20
_BYTES_PER_VALUE = 400


@dataclass(frozen=True)
class ComputeRules:
    """What a turn may need. A window beyond it is read in parts, and a sample of it is kept."""

    memory: str = "4GiB"
    """Memory that a turn may take, such as "2GiB"; it limits the rows looked at, not windows."""

    def __post_init__(self) -> None:
        if self._bytes < _LEAST:
            raise ValueError(f'memory must be "512MiB" or more, got {self.memory!r}')

    @property
    def _bytes(self) -> int:
        found = re.fullmatch(r"([1-9][0-9]{0,6}) ?(MiB|GiB)", self.memory)
        if found is None:
            raise ValueError(f'memory must be written like "2GiB" or "800MiB", got {self.memory!r}')
        return int(found[1]) * _UNITS[found[2]]

    def rows(self, columns: int) -> int:
        """How many rows of a large window with so many columns are kept."""
        free = max(self._bytes - _BASE_BYTES, self._bytes // 4)
        return max(_FEWEST, int(free / (_BYTES_PER_VALUE * (columns + 2))))

    @property
    def values(self) -> int:
        """How many values the matrix may have that a learner is given: rows times columns."""
        return self._bytes // (6 * 8)

    def training_rows(self, columns: int) -> int:
        """How many rows a model learns from at most, of all windows together."""
        return 2 * self.rows(columns)
