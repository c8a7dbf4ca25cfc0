"""Where the data left the reference: columns by window, and each column's two distributions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from closedloop.decisions.drift_report import ColumnDrift
from closedloop.errors import RegistryError
from closedloop.metrics.importance import Importance
from closedloop.registry.versions import PRODUCTION
from closedloop.storage.entry import Entry
from closedloop.turn.distributions import Distribution
from closedloop.turn.open import Loop
from closedloop.views.kept_files import (
    read_column_drift,
    read_kept_distributions,
    read_kept_importance,
)

MOST_WINDOWS, MOST_ROWS = 24, 100


@dataclass(frozen=True)
class DriftTurn:
    """A window whose drift was measured, in the turn with this decision.

    `reference` is the window that it was compared with, None for production's training rows.
    """

    window: str
    decision: int
    production: int | None
    run: str
    reference: str | None = None


@dataclass(frozen=True)
class ColumnRow:
    """A column in every window, None where it was not measured.

    `importance` is the AUC that production loses without the column, None where that is not known.
    """

    column: str
    importance: float | None
    cells: tuple[ColumnDrift | None, ...]

    @property
    def worst(self) -> float:
        """The newest distance in units of its limit, for an order; 0 where it is not known."""
        return nearness(self.cells[-1]) or 0.0 if self.cells else 0.0


@dataclass(frozen=True)
class DriftTable:
    """Columns by window, those first that production needs most, else those that drifted most.

    `weighted_share` is the drift_share of each window with columns weighted by importance, None
    where that is not known. `left_out` counts rows for which there was no room. `problem` says why
    nothing could be read.
    """

    turns: tuple[DriftTurn, ...]
    rows: tuple[ColumnRow, ...]
    weighted_share: tuple[float | None, ...]
    importance: Importance | None
    left_out: int = 0
    problem: str = ""


@dataclass(frozen=True)
class ColumnFacts:
    """A column in one window: its distance and limit, its distributions, and its other windows.

    `distribution` is None where an older release did not keep it; `place` is that of the window
    among `row.cells` and `turns`.
    """

    row: ColumnRow
    turns: tuple[DriftTurn, ...]
    place: int
    distribution: Distribution | None
    importance_rank: int | None
    columns: int

    @property
    def drift(self) -> ColumnDrift | None:
        """The distance of the window that is looked at."""
        return self.row.cells[self.place]


def nearness(column: ColumnDrift | None) -> float | None:
    """A distance in units of its limit: 1 and more is drift; None where it was not measured."""
    if column is None or column.score is None or not column.limit:
        return None
    return column.score / column.limit


def find_turns(entries: Iterable[Entry]) -> tuple[DriftTurn, ...]:
    """The newest windows whose drift was measured and kept, oldest first."""
    found: dict[str, DriftTurn] = {}
    for entry in entries:
        turn, window = entry.turn, entry.decision.window
        if turn.drift is not None and turn.run is not None and turn.run.run:
            found[window] = DriftTurn(
                window, entry.id, entry.production, turn.run.run, turn.drift.drift_reference
            )
    return tuple(found.values())[-MOST_WINDOWS:]


def read_drift_table(loop: Loop) -> DriftTable:
    """Columns by window; what cannot be read is left out, and told in `problem`."""
    turns = find_turns(loop.journal.history(loop.use_case.name))
    try:
        importance = _production_importance(loop)
    except RegistryError as error:
        return DriftTable((), (), (), None, problem=str(error))
    columns = [read_column_drift(loop.registry, turn.run) for turn in turns]
    turns = tuple(turn for turn, found in zip(turns, columns, strict=True) if found)
    measured = [{column.column: column for column in found} for found in columns if found]
    rows = _order(_make_rows(measured, importance))
    weighted = tuple(weigh(found.values(), importance) for found in measured)
    left_out = max(len(rows) - MOST_ROWS, 0)
    return DriftTable(turns, tuple(rows[:MOST_ROWS]), weighted, importance, left_out)


def find_column(loop: Loop, column: str, window: str | None) -> ColumnFacts | None:
    """A column in a window, the newest that has it unless one is named; None where there is none.

    Raises RegistryError when MLflow is away.
    """
    turns = find_turns(loop.journal.history(loop.use_case.name))
    importance = _production_importance(loop)
    columns = [read_column_drift(loop.registry, turn.run) for turn in turns]
    turns = tuple(turn for turn, found in zip(turns, columns, strict=True) if found)
    measured = [{each.column: each for each in found} for found in columns if found]
    places = [
        place
        for place, known in enumerate(measured)
        if column in known and window in (None, turns[place].window)
    ]
    if not places:
        return None
    rows = _make_rows(measured, importance)
    row = next(row for row in rows if row.column == column)
    kept = read_kept_distributions(loop.registry, turns[places[-1]].run)
    found = [each for each in kept.columns if each.column == column] if kept else []
    names = [each.column for each in importance.columns] if importance else []
    rank = names.index(column) + 1 if column in names else None
    return ColumnFacts(row, turns, places[-1], found[0] if found else None, rank, len(names))


def weigh(columns: Iterable[ColumnDrift], importance: Importance | None) -> float | None:
    """The share of the importance that lies in columns that drifted, 0 to 1; None if not known."""
    if importance is None:
        return None
    losses = {column.column: max(column.loss, 0.0) for column in importance.columns}
    known = [column for column in columns if column.drifted is not None]
    whole = sum(losses.get(column.column, 0.0) for column in known)
    if not whole:
        return None
    return sum(losses.get(column.column, 0.0) for column in known if column.drifted) / whole


def _production_importance(loop: Loop) -> Importance | None:
    live = next((facts for facts in loop.registry.versions() if PRODUCTION in facts.aliases), None)
    return None if live is None else read_kept_importance(loop.registry, live.run_id)


def _make_rows(
    measured: Sequence[Mapping[str, ColumnDrift]], importance: Importance | None
) -> list[ColumnRow]:
    losses = {column.column: column.loss for column in importance.columns} if importance else {}
    names = dict.fromkeys(name for columns in measured for name in columns)
    return [
        ColumnRow(name, losses.get(name), tuple(columns.get(name) for columns in measured))
        for name in names
    ]


def _order(rows: list[ColumnRow]) -> list[ColumnRow]:
    """What is not a feature, such as the prediction, comes after the features that are needed."""

    def place(row: ColumnRow) -> tuple[float, float, str]:
        needed = row.importance if row.importance is not None else float("-inf")
        return -needed, -row.worst, row.column

    return sorted(rows, key=place)
