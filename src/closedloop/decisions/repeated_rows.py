"""Evidence about rows that windows share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RepeatedRows:
    """Labelled rows of a window that `earlier` windows hold already: they judge no model.

    `rows` of all `of` are known by their key, or by their whole content if there is no key.
    """

    window: str
    rows: int
    of: int
    earlier: tuple[str, ...]
    by_key: bool

    def __str__(self) -> str:
        many = len(self.earlier) > 2
        names = f"{self.earlier[0]} to {self.earlier[-1]}" if many else " and ".join(self.earlier)
        unit = "keys" if self.by_key else "rows"
        return f"{self.rows:,} of {self.of:,} {unit} are in {names} already"
