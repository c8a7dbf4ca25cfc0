"""What a candidate answered in the shadow of production, and the recorded requests themselves.

A shadow answer belongs to a request that production has answered: it has that request's id, and is
deleted with it. It is written over a connection of its own, so that whatever happens to it happens
to no answer of production.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from closedloop.records.insert_sql import Statement
from closedloop.records.sqlite_writer import SqliteWriter, Sync
from closedloop.records.tables import ANSWERS, LABELS, SHADOWS, store_error
from closedloop.records.writer import AnswerWriter
from closedloop.storage.engine import read_only
from closedloop.storage.upgrade import prepare_tables

_MOST_IN_A_STATEMENT = 150  # older versions of SQLite take at most 999 values


@dataclass(frozen=True)
class RecordedRequest:
    """A request as it was recorded: its `features` are JSON, as in `AnsweredRequest`."""

    request: str
    rows: int
    features: bytes


@dataclass(frozen=True)
class ShadowAnswer:
    """What a candidate said to a request: `probabilities` as in `AnsweredRequest`, or an error."""

    request: str
    use_case: str
    version: int
    probabilities: bytes | None
    error: str | None = None


@dataclass(frozen=True)
class AnsweredTwice:
    """A request with production's answer, the shadow's, and the labels that came, by row number."""

    request: RecordedRequest
    version: int
    probabilities: bytes
    shadow: bytes | None
    labels: dict[int, str]


class ShadowRecords:
    """Reads recorded requests, and keeps what a candidate answers to them."""

    def __init__(self, engine: Engine, *, sync: Sync = "normal") -> None:
        self._engine = engine
        is_sqlite = engine.dialect.name == "sqlite"
        self._writer = SqliteWriter(engine, sync) if is_sqlite else AnswerWriter(engine)

    def write(self, answers: Sequence[ShadowAnswer]) -> None:
        """Keep the answers, each once; raises StoreError when none was kept."""
        statements = [
            self._insert(answers[start : start + _MOST_IN_A_STATEMENT])
            for start in range(0, len(answers), _MOST_IN_A_STATEMENT)
        ]
        if statements:
            self._writer.commit(statements, "record what a candidate answers")

    def close(self) -> None:
        """Close the connection that is kept for writing."""
        self._writer.close()

    def read_newest(self, use_case: str, rows: int) -> tuple[RecordedRequest, ...]:
        """The newest requests, newest first, until they have so many rows; the last is whole.

        Those with a row that was erased are left out.
        """
        query = (
            select(ANSWERS.c.request, ANSWERS.c.rows, ANSWERS.c.features)
            .where(ANSWERS.c.use_case == use_case, ANSWERS.c.forgotten.is_(None))
            .order_by(ANSWERS.c.at.desc(), ANSWERS.c.request.desc())
            .limit(rows)
        )
        found, wanted = list[RecordedRequest](), rows
        with self._reading("read predictions") as connection:
            streamed = connection.execution_options(stream_results=True).execute(query)
            for request, number, features in streamed:
                found.append(RecordedRequest(request, number, features.encode()))
                wanted -= number
                if wanted <= 0:
                    break
            streamed.close()
        return tuple(found)

    def read_versions(self, use_case: str) -> dict[int, int]:
        """Version -> the number of requests that it was asked in the shadow."""
        query = (
            select(SHADOWS.c.version, func.count())
            .where(SHADOWS.c.use_case == use_case)
            .group_by(SHADOWS.c.version)
            .order_by(SHADOWS.c.version)
        )
        with self._reading("read what candidates answered") as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def read_twice(self, use_case: str, version: int) -> Iterator[AnsweredTwice]:
        """Every request that this version was asked in the shadow, oldest first.

        Those with a row that was erased are left out.
        """
        asked = (SHADOWS.c.use_case == use_case, SHADOWS.c.version == version)
        both = ANSWERS.join(SHADOWS, SHADOWS.c.request == ANSWERS.c.request)
        query = (
            select(ANSWERS, SHADOWS.c.probabilities.label("shadow"))
            .select_from(both)
            .where(*asked, ANSWERS.c.forgotten.is_(None))
            .order_by(ANSWERS.c.at, ANSWERS.c.request)
        )
        labelled = (
            select(LABELS.c.request, LABELS.c.prediction_id, LABELS.c.label)
            .join(SHADOWS, SHADOWS.c.request == LABELS.c.request)
            .where(*asked)
        )
        with self._reading("read what a candidate answered") as connection:
            labels: dict[str, dict[int, str]] = {}
            for request, id, label in connection.execute(labelled):
                labels.setdefault(request, {})[int(id.rpartition("-")[2])] = label
            connection = connection.execution_options(stream_results=True)
            for row in connection.execute(query):
                yield AnsweredTwice(
                    RecordedRequest(row.request, row.rows, row.features.encode()),
                    row.version,
                    row.probabilities.encode(),
                    None if row.shadow is None else row.shadow.encode(),
                    labels.get(row.request, {}),
                )

    def _insert(self, answers: Sequence[ShadowAnswer]) -> Statement:
        mark = "?" if self._engine.dialect.name == "sqlite" else "%s"
        row = f"({', '.join([mark] * 5)})"
        values = [
            value
            for answer in answers
            for value in (
                answer.request,
                answer.version,
                answer.use_case,
                None if answer.probabilities is None else answer.probabilities.decode(),
                answer.error,
            )
        ]
        return (
            "INSERT INTO shadow_answers (request, version, use_case, probabilities, error) "
            f"VALUES {', '.join([row] * len(answers))} ON CONFLICT DO NOTHING",
            values,
        )

    @contextmanager
    def _reading(self, doing: str) -> Iterator[Connection]:
        try:
            prepare_tables(self._engine)
            with read_only(self._engine).begin() as connection:
                yield connection
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise store_error(doing, error) from error
