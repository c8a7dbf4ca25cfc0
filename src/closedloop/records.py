"""Append and read what the service answered (predictions) and what turned out to be true (labels).

A prediction is recorded before it is given; a label arrives later, names the prediction or its key, and is never changed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from closedloop.errors import LabelConflict, StoreError
from closedloop.prediction_rows import insert_statements
from closedloop.use_case import UseCase

if TYPE_CHECKING:
    import pandas as pd  # imported where rows are read: the service, which only writes, does without

MAX_KEY_LENGTH = 500  # PostgreSQL refuses index entries over 2,700 bytes
_BATCH = 500  # names in one query; SQLite's older limit is 999
_PADDING = "." * 65_536  # what a probe writes: a disk with less room is full
_TABLES_LOCK = 7_203_301_771  # any number that nothing else locks


class UnknownPrediction(StoreError):
    """A label for a prediction that was never recorded."""


class _UtcDateTime(sa.TypeDecorator[datetime]):
    """Aware in, aware UTC out, also where the database keeps no time zone (SQLite)."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_METADATA = sa.MetaData()
_PREDICTIONS = sa.Table(
    "predictions", _METADATA,
    sa.Column("id", sa.String(60), primary_key=True),
    sa.Column("use_case", sa.String(100), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("at", _UtcDateTime, nullable=False),
    sa.Column("key", sa.String(MAX_KEY_LENGTH)),
    sa.Column("features", sa.JSON, nullable=False),
    sa.Column("probabilities", sa.JSON, nullable=False),
    sa.Column("prediction", sa.Text, nullable=False),
    sa.Index("predictions_by_time", "use_case", "at"),
    sa.Index("predictions_by_key", "use_case", "key", "at"),
)  # fmt: skip
_LABELS = sa.Table(
    "labels", _METADATA,
    sa.Column("prediction_id", sa.String(60), sa.ForeignKey("predictions.id"), primary_key=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("at", _UtcDateTime, nullable=False),
)  # fmt: skip
_PROBES = sa.Table("record_probes", _METADATA, sa.Column("id", sa.Integer, primary_key=True), sa.Column("padding", sa.Text, nullable=False))


@dataclass(frozen=True)
class Prediction:
    """One answered row. `features` are the row as it was asked, `probabilities` one per class; `at` is when it was recorded
    unless given."""

    id: str
    use_case: str
    version: int
    key: str | None
    features: Mapping[str, float | str | None]
    probabilities: Mapping[str, float]
    prediction: str
    at: datetime | None = None


@dataclass(frozen=True)
class Label:
    """The truth about one prediction: the one with this `id`, or the newest one with this `key`. Exactly one of both."""

    label: str
    id: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        if (self.id is None) == (self.key is None):
            raise ValueError("a label needs either the id of a prediction or its key")


@dataclass(frozen=True)
class RecordCounts:
    """How many rows were answered for a use case, and how many of them have a label."""

    predictions: int
    labels: int


def make_prediction_ids(rows: int) -> list[str]:
    """Ids for the rows of one request: never used before, and in the order of the rows when sorted.

    They begin with the time, so that the index of a large table grows at its end instead of everywhere at once.
    """
    request = f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"
    return [f"{request}-{row:06d}" for row in range(rows)]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Records:
    """Predictions and labels in one SQL database. Every fault of the database is a StoreError."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] = _utc_now) -> None:
        self._engine, self.now = engine, now
        self._tables_exist = False

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Record all of them or, raising StoreError, none."""
        statements = list(insert_statements(predictions, self.now(), self._engine.dialect.name))
        with self._transaction("record predictions") as connection:
            for statement, values in statements:
                connection.exec_driver_sql(statement, values)

    def probe(self) -> None:
        """Write something of no meaning; raises StoreError when predictions could not be recorded either."""
        with self._transaction("try the store") as connection:
            connection.execute(sa.delete(_PROBES))
            connection.execute(sa.insert(_PROBES), {"id": 1, "padding": _PADDING})

    def label(self, prediction_id: str, label: str) -> bool:
        """Record the truth about one prediction; True when it is news. Raises as `label_many` does."""
        return self.label_many([Label(label, id=prediction_id)]) == 1

    def label_many(self, labels: Sequence[Label], use_case: str | None = None) -> int:
        """Record all labels or none; the number of those that are news (a label that is already there is no fault).

        `use_case` narrows the predictions that may be meant; labels given by key need it. Raises UnknownPrediction naming
        every id and key without a prediction, and LabelConflict naming both labels when one contradicts another.
        """
        if use_case is None and any(one.key is not None for one in labels):
            raise ValueError("labels given by key need the use case")
        with self._transaction("record labels") as connection:
            wanted = _name_predictions(connection, labels, use_case)
            existing = _read_labels(connection, wanted)
            _refuse_conflicts(existing, wanted)
            now = self.now()
            # Sorted, so that two writers of the same labels wait for each other instead of locking each other out.
            missing = [{"prediction_id": id, "label": label, "at": now} for id, label in sorted(wanted.items()) if id not in existing]
            if missing:
                dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
                connection.execute(dialect.insert(_LABELS).on_conflict_do_nothing(), missing)
                # Another writer may have been first since we looked.
                _refuse_conflicts(_read_labels(connection, wanted), wanted)
            return len(missing)

    def read(self, use_case: UseCase, since: datetime | None = None, until: datetime | None = None) -> pd.DataFrame:
        """Recorded rows with since <= time < until, oldest first: the key column (when the use case has one), the features as
        they were asked, and the target column: the label, None where none is known."""
        query = (
            select(_PREDICTIONS.c.key, _PREDICTIONS.c.features, _LABELS.c.label)
            .select_from(_PREDICTIONS.outerjoin(_LABELS, _LABELS.c.prediction_id == _PREDICTIONS.c.id))
            .where(_PREDICTIONS.c.use_case == use_case.name)
            .order_by(_PREDICTIONS.c.at, _PREDICTIONS.c.id)
        )
        if since is not None:
            query = query.where(_PREDICTIONS.c.at >= since)
        if until is not None:
            query = query.where(_PREDICTIONS.c.at < until)
        with self._transaction("read predictions") as connection:
            rows = connection.execute(query).all()
        frame: dict[str, list[Any]] = {} if use_case.key is None else {use_case.key: [row.key for row in rows]}
        for name in use_case.columns:
            frame[name] = [row.features.get(name) for row in rows]
        frame[use_case.target.column] = [row.label for row in rows]
        import pandas as pd

        return pd.DataFrame({name: _raw_column(values) for name, values in frame.items()})

    def count(self, use_case: str) -> RecordCounts:
        """How many predictions and labels a use case has."""
        of_use_case = _PREDICTIONS.c.use_case == use_case
        labelled = (
            select(func.count()).select_from(_LABELS.join(_PREDICTIONS, _LABELS.c.prediction_id == _PREDICTIONS.c.id)).where(of_use_case)
        )
        with self._transaction("count predictions") as connection:
            predictions = connection.execute(select(func.count()).select_from(_PREDICTIONS).where(of_use_case)).scalar_one()
            return RecordCounts(predictions, connection.execute(labelled).scalar_one())

    def read_periods(self, use_case: str, period: Period, until: datetime) -> tuple[datetime, ...]:
        """Starts of the UTC periods before `until` in which something was answered, oldest first."""
        starts: list[datetime] = []
        # One look into the index for each period, however many rows it holds.
        earliest = select(func.min(_PREDICTIONS.c.at)).where(_PREDICTIONS.c.use_case == use_case, _PREDICTIONS.c.at < until)
        with self._transaction("read periods") as connection:
            found = connection.execute(earliest).scalar_one()
            while found is not None:
                starts.append(start_of(found, period))
                found = connection.execute(earliest.where(_PREDICTIONS.c.at >= end_of(starts[-1], period))).scalar_one()
        return tuple(starts)

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[Connection]:
        try:
            if not self._tables_exist:
                self._create_tables()
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            self._tables_exist = False  # whatever comes back may be a new, empty database
            said = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
            raise StoreError(where=f"records, to {doing}", wanted="a database that answers", got=said.splitlines()[0],
                             then="check CLOSEDLOOP_DATABASE_URL and that its server runs") from error  # fmt: skip

    def _create_tables(self) -> None:
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":  # SQLite's transaction holds the write lock already
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _TABLES_LOCK})
            _METADATA.create_all(connection)
        self._tables_exist = True


def _raw_column(values: list[Any]) -> pd.Series[Any]:
    """Numbers as float, everything else untouched with None for null."""
    import pandas as pd

    if any(value is not None for value in values) and all(value is None or isinstance(value, float) for value in values):
        return pd.Series(values, dtype=float)
    return pd.Series(values, dtype=object)


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + _BATCH] for start in range(0, len(names), _BATCH))


def _name_predictions(connection: Connection, labels: Sequence[Label], use_case: str | None) -> dict[str, str]:
    """Prediction id -> label, for labels given by id or by key."""
    ids = sorted({one.id for one in labels if one.id is not None})
    keys = sorted({one.key for one in labels if one.key is not None})
    known: set[str] = set()
    for batch in _batches(ids):
        query = select(_PREDICTIONS.c.id).where(_PREDICTIONS.c.id.in_(batch))
        if use_case is not None:
            query = query.where(_PREDICTIONS.c.use_case == use_case)
        known.update(connection.execute(query).scalars())
    newest = {key: id for key in keys if (id := _newest_of_key(connection, use_case, key)) is not None}
    unknown = [f"id {id}" for id in ids if id not in known] + [f"key {key}" for key in keys if key not in newest]
    if unknown:
        raise UnknownPrediction(where="labels", wanted="predictions that were recorded", got=f"none for {', '.join(unknown)}",
                                then="send the ids that /predict answered; nothing of this request was recorded")  # fmt: skip
    wanted: dict[str, str] = {}
    for one in labels:
        id = one.id if one.id is not None else newest[str(one.key)]
        _refuse_conflicts({id: wanted.get(id, one.label)}, {id: one.label})
        wanted[id] = one.label
    return wanted


def _newest_of_key(connection: Connection, use_case: str | None, key: str) -> str | None:
    newest = (
        select(_PREDICTIONS.c.id)
        .where(_PREDICTIONS.c.use_case == use_case, _PREDICTIONS.c.key == key)
        .order_by(_PREDICTIONS.c.at.desc(), _PREDICTIONS.c.id.desc())
        .limit(1)
    )
    return connection.execute(newest).scalar_one_or_none()


def _read_labels(connection: Connection, ids: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for batch in _batches(list(ids)):
        query = select(_LABELS.c.prediction_id, _LABELS.c.label).where(_LABELS.c.prediction_id.in_(batch))
        found.update((row.prediction_id, row.label) for row in connection.execute(query))
    return found


def _refuse_conflicts(existing: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    for id, label in existing.items():
        if wanted[id] != label:
            raise LabelConflict(where=f"label of prediction {id}", wanted=f"{label!r} as given before", got=repr(wanted[id]),
                                then="find out which is right; recorded labels never change, and this request recorded none")  # fmt: skip


Period = Literal["hour", "day", "month"]
_FORMATS: dict[Period, str] = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}


def start_of(moment: datetime, period: Period) -> datetime:
    """Start of the UTC hour, day or month that `moment` lies in."""
    start = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if period == "hour":
        return start
    return start.replace(hour=0) if period == "day" else start.replace(hour=0, day=1)


def end_of(start: datetime, period: Period) -> datetime:
    """Start of the period after the one that starts at `start`."""
    longest = {"hour": timedelta(hours=1), "day": timedelta(days=1), "month": timedelta(days=31)}[period]
    return start_of(start + longest, period)


class RecordsSource:
    """The service's own records as windows: one for each UTC hour, day or month with answers, named like `records_2026-11-20`.

    A period that still runs is left out unless `unfinished`: a window must not grow after it was judged.
    """

    def __init__(self, records: Records, use_case: UseCase, period: Period = "day", *, unfinished: bool = False) -> None:
        self._records, self._use_case, self._period, self._unfinished = records, use_case, period, unfinished

    def windows(self) -> tuple[str, ...]:
        """Names in time order, which is also their sorted order."""
        now = self._records.now()
        until = end_of(start_of(now, self._period), self._period) if self._unfinished else start_of(now, self._period)
        starts = self._records.read_periods(self._use_case.name, self._period, until)
        return tuple(f"records_{start.strftime(_FORMATS[self._period])}" for start in starts)

    def read(self, window: str) -> pd.DataFrame:
        """Raw rows of one window as `Records.read` gives them; raises StoreError when the name is not of this source."""
        try:
            start = datetime.strptime(window.removeprefix("records_"), _FORMATS[self._period]).replace(tzinfo=UTC)
        except ValueError:
            raise StoreError(where=f"window {window}", wanted=f"records_{_FORMATS[self._period]}", got=window,
                             then="name a window of this source") from None  # fmt: skip
        return self._records.read(self._use_case, start, end_of(start, self._period))
