"""Drift as it was measured: frozen facts, as in `evidence`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ColumnDrift:
    """One watched column held against the reference.

    A distance (0 is no drift) and the limit it may not reach.

    `score` is None when the column could not be measured; `note` then says why.
    """

    column: str
    method: str
    score: float | None
    limit: float | None
    note: str = ""

    @property
    def drifted(self) -> bool | None:
        """True when the distance reached its limit; None when it could not be measured."""
        if self.score is None or self.limit is None:
            return None
        return self.score >= self.limit


@dataclass(frozen=True)
class DriftReport:
    """The reference held against the current window, column by column.

    `reference` names it, and `reference_window` is the window that it is: None for the rows that
    production was trained on. `note` says why it is those where the policy asks for a window.
    """

    reference: str
    current: str
    reference_rows: int
    current_rows: int
    columns: tuple[ColumnDrift, ...]
    reference_window: str | None = None
    note: str = ""

    @property
    def drift_share(self) -> float | None:
        """Share of watched columns that drifted, 0 to 1; None when none could be measured."""
        verdicts = [column.drifted for column in self.columns if column.drifted is not None]
        return sum(verdicts) / len(verdicts) if verdicts else None

    @property
    def drifted_columns(self) -> tuple[str, ...]:
        return tuple(column.column for column in self.columns if column.drifted)
