"""The records: what the service answered, request by request, and the labels that came later.

A request is recorded before it is answered. A label names a prediction or its key, and changes only
when somebody corrects it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, tzinfo
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from closedloop.records import reading
from closedloop.records.call_counts import (
    ServedMinute,
    ServedTotal,
    delete_served,
    read_served,
    write_served,
)
from closedloop.records.corrections import count_corrected
from closedloop.records.erasure import (
    MAX_ROWS,
    FoundRows,
    erase_labels,
    erase_some,
    find_rows,
    overwrite_deleted,
    wipe,
)
from closedloop.records.found_answer import FoundAnswer, find_answer
from closedloop.records.labels import Label, name_predictions, write_labels
from closedloop.records.old_partitions import drop_old
from closedloop.records.probe import write_probe
from closedloop.records.reading import RecordCounts
from closedloop.records.repeated_keys import keep_newest_of_chunks
from closedloop.records.request import AnsweredRequest
from closedloop.records.retention import count_rows, delete_old, find_newest_labelled
from closedloop.records.sqlite_writer import SqliteWriter, Sync
from closedloop.records.tables import store_error
from closedloop.records.traffic import Day, LabelDelay, count_days, measure_label_delay
from closedloop.records.writer import AnswerWriter
from closedloop.storage.engine import read_only
from closedloop.storage.upgrade import prepare_tables
from closedloop.use_case.contract import UseCase
from closedloop.use_case.source import Every

if TYPE_CHECKING:
    # Imported where rows are read: the service only writes.
    import pandas as pd

    from closedloop.records.archive.folder import Archive


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Records:
    """Answers and labels in one SQL database. Every error of the database is a StoreError.

    An appended request survives a crash of the process; on SQLite, it survives a power cut with
    `sync` "full" only. Windows are read from an `archive` where it has their days; what is deleted
    or erased here is deleted there first.
    """

    def __init__(
        self,
        engine: Engine,
        now: Callable[[], datetime] = _utc_now,
        *,
        sync: Sync = "normal",
        archive: Archive | None = None,
    ) -> None:
        self._engine, self.now, self.archive = engine, now, archive
        is_sqlite = engine.dialect.name == "sqlite"
        self._writer = SqliteWriter(engine, sync) if is_sqlite else AnswerWriter(engine)
        self._tables_exist = False

    def append(self, requests: Sequence[AnsweredRequest]) -> None:
        """Record all requests, or raise StoreError and record none."""
        self._writer.write(requests, self.now())

    def append_now(self, requests: Sequence[AnsweredRequest]) -> bool:
        """Record all requests without waiting; False when that is impossible: `append` them."""
        return self._writer.write_now(requests, self.now())

    def probe(self) -> None:
        """Write a meaningless row; raises StoreError when requests could not be recorded either."""
        with self._transaction("try the store") as connection:
            write_probe(connection)
        self._writer.open()

    def close(self) -> None:
        """Close the connection that is kept for writing; writing again opens a new one."""
        self._writer.close()

    def label_many(
        self, labels: Sequence[Label], use_case: str | None = None, *, by: str | None = None
    ) -> int:
        """Record all labels or none; returns how many are new or corrected.

        Repeating a label is no error. `by` is the name of the key that corrects, for the history.

        Only predictions of `use_case` are considered; labels given by key need it. Raises
        UnknownPrediction, which names every id and key without a prediction, and LabelConflict,
        which names both labels when two contradict each other.
        """
        if use_case is None and any(label.key is not None for label in labels):
            raise ValueError("labels given by key need the use case")
        with self._reading("record labels") as connection:
            named = name_predictions(connection, labels, use_case)
        if not (named.missing or named.corrected):
            return 0
        with self._connection("record labels", self._engine) as connection:
            return write_labels(connection, named, self.now(), by)

    def read(
        self, use_case: UseCase, since: datetime | None = None, until: datetime | None = None
    ) -> pd.DataFrame:
        """Recorded rows with since <= time < until, oldest first.

        Columns: the key (if the use case has one; the prediction's id where none was sent), the
        features as they were sent, and the target, None where no label is known.
        """
        with self._reading("read predictions") as connection:
            window = reading.open_window(connection, use_case, since, until, self.archive)
            return reading.read_rows(window)

    def read_chunks(
        self, use_case: UseCase, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[pd.DataFrame]:
        """The same rows in chunks of some ten thousand, the newest of every key; one at least.

        A chunk's columns have the types of its own values; without any, a numeric one holds NaN.
        """
        with self._reading("read predictions") as connection:
            window = reading.open_window(connection, use_case, since, until, self.archive)
            keys = () if use_case.key is None else reading.read_keys(window)
            yield from keep_newest_of_chunks(reading.read_chunks(window), keys, use_case)

    def archive_day(
        self, use_case: UseCase, day: date, *, dry_run: bool = False
    ) -> tuple[int, str]:
        """As `write_day` of the archive: how many rows a day has, and why its file is written."""
        from closedloop.records.archive.day_file import write_day

        assert self.archive is not None
        with self._reading("read a day") as connection:
            counts, why = write_day(connection, self.archive, use_case, day, dry_run=dry_run)
        return counts.rows, why

    def newest_columns(self, use_case: str) -> tuple[datetime, frozenset[str]] | None:
        """When the newest request was answered, and the features on record of it."""
        with self._reading("look at the newest answer") as connection:
            return reading.read_newest_columns(connection, use_case)

    def count(self, use_case: str) -> RecordCounts:
        """How many predictions and labels a use case has."""
        with self._reading("count predictions") as connection:
            return reading.count_rows_and_labels(connection, use_case)

    def count_days(self, use_case: str, since: datetime) -> tuple[Day, ...]:
        """As `records.traffic.count_days`."""
        with self._reading("count predictions") as connection:
            return count_days(connection, use_case, since)

    def label_delay(self, use_case: str) -> LabelDelay | None:
        """As `records.traffic.measure_label_delay`."""
        with self._reading("look for labels") as connection:
            return measure_label_delay(connection, use_case)

    def find_answer(self, id: str, use_case: str) -> FoundAnswer:
        """The request that a prediction was part of; raises UnknownPrediction for another id."""
        with self._reading("look for a prediction") as connection:
            return find_answer(connection, id, use_case)

    def count_before(self, use_case: str, moment: datetime) -> int:
        """How many predictions of a use case were answered before `moment`."""
        with self._reading("count predictions") as connection:
            return count_rows(connection, use_case, moment)

    def delete_before(self, use_case: str, moment: datetime) -> int:
        """Delete all requests answered before `moment`, with their keys and labels.

        Returns how many predictions were deleted. It takes many transactions: the service can
        record between them, and after a crash the same call continues.
        """
        if self.archive is not None:
            self.archive.delete_before(use_case, moment)
        begin = partial(self._transaction, "delete old predictions")
        deleted = drop_old(begin, use_case, moment, self.now())
        deleted += delete_old(begin, use_case, moment)
        with self._transaction("delete old counts of calls") as connection:
            delete_served(connection, use_case, moment)
        return deleted

    def find_rows(self, use_case: str, key: str) -> FoundRows:
        """The rows that were answered for a key, with their labels; changes nothing."""
        with self._reading("look for rows of a key") as connection:
            return find_rows(connection, use_case, key)

    def erase(self, use_case: str, key: str) -> int:
        """Erase all rows of a key, with their labels and what these were; returns how many.

        It takes many transactions, as `delete_before` does. Rows that are recorded before the last
        of them are erased, too. On SQLite their bytes are overwritten, for which the file is
        rewritten; raises StoreError when that cannot be finished: the same call does it then.
        """
        if self.archive is not None:
            times = self.find_rows(use_case, key).times
            self.archive.delete(use_case, {at.date() for at in times})
        erased: list[str] = []
        while True:
            began = time.monotonic()
            with self._connection("erase rows", self._engine) as connection:
                overwrite_deleted(connection)
                with connection.begin():
                    ids = erase_some(connection, use_case, key)
            erased += ids
            if len(ids) < MAX_ROWS:  # it took all there were: to chase new ones might never end
                break
            time.sleep(time.monotonic() - began)
        with self._transaction("erase labels") as connection:
            erase_labels(connection, erased)
        with self._connection("overwrite what was erased", self._engine):
            wipe(self._engine)
        return len(erased)

    def add_served(self, use_case: str, minutes: Sequence[ServedMinute]) -> None:
        """Write down how the model of each version did, by the minute."""
        with self._transaction("count calls") as connection:
            write_served(connection, use_case, minutes)

    def read_served(
        self,
        use_case: str,
        version: int,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> ServedTotal:
        """How the model of a version did in the minutes since <= minute < until."""
        with self._reading("read counts of calls") as connection:
            return read_served(connection, use_case, version, since, until)

    def newest_labelled(self, use_case: str) -> datetime | None:
        """When the newest request with a label was answered; None if there is none."""
        with self._reading("look for labels") as connection:
            return find_newest_labelled(connection, use_case)

    def count_corrected(
        self, use_case: str, since: datetime, until: datetime, after: datetime
    ) -> int:
        """How many predictions with since <= time < until had a label corrected after `after`."""
        with self._reading("look for corrections") as connection:
            return count_corrected(connection, use_case, since, until, after)

    def read_periods(
        self, use_case: str, every: Every, until: datetime, zone: tzinfo = UTC
    ) -> tuple[datetime, ...]:
        """Starts, in UTC, of the periods before `until` with at least one answer, oldest first.

        A period is one by the clock of `zone`.
        """
        with self._reading("read periods") as connection:
            return tuple(reading.read_periods(connection, use_case, every, until, zone))

    def _reading(self, doing: str) -> AbstractContextManager[Connection]:
        """A transaction that keeps nobody from recording, however long it takes."""
        return self._transaction(doing, read_only(self._engine))

    @contextmanager
    def _transaction(self, doing: str, engine: Engine | None = None) -> Iterator[Connection]:
        with self._connection(doing, engine or self._engine) as connection, connection.begin():
            yield connection

    @contextmanager
    def _connection(self, doing: str, engine: Engine) -> Iterator[Connection]:
        try:
            if not self._tables_exist:
                prepare_tables(self._engine)
                self._tables_exist = True
            with engine.connect() as connection:
                yield connection
        except (SQLAlchemyError, sqlite3.Error) as error:
            self._tables_exist = False  # the database that comes back may be a new, empty one
            raise store_error(doing, error) from error
