"""Writes the file of a day and reads it back, one page of answers after another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pyarrow.parquet
from sqlalchemy import Connection

from closedloop.records.answer_pages import read_answers, read_labels
from closedloop.records.archive.day_counts import DayCounts, count_period
from closedloop.records.archive.day_table import (
    KEY,
    REQUEST,
    ROW,
    TIME,
    DayFacts,
    Unfit,
    choose_kinds,
    find_within,
    make_schema,
    make_table,
    read_facts,
    read_features,
    read_ids,
    read_keys,
)
from closedloop.records.archive.error import ArchiveError
from closedloop.records.archive.folder import Archive, asking
from closedloop.records.archive.span import Span
from closedloop.records.page_rows import place_labels
from closedloop.records.stored_columns import Column
from closedloop.use_case.contract import UseCase

Rows = tuple[int, dict[str, Column]]


def period_of(day: date) -> tuple[datetime, datetime]:
    """When a day starts and the next one does."""
    start = datetime.combine(day, time(), UTC)
    return start, start + timedelta(days=1)


def write_day(
    connection: Connection, archive: Archive, use_case: UseCase, day: date, *, dry_run: bool = False
) -> tuple[DayCounts, str]:
    """Write the file of a closed day; returns what the database has of it, and why it was written.

    The reason is empty where the file stands for its day already: then nothing is written.
    """
    counts = count_period(connection, use_case.name, *period_of(day))
    try:
        reason = find_fault(archive, use_case, day, counts)
    except ArchiveError as error:
        reason = f"its file cannot be read: {error.got}"
    unfit: frozenset[str] = frozenset()
    while reason and not dry_run:
        facts = DayFacts(1, counts, choose_kinds(use_case, unfit))
        try:
            _write(connection, archive, use_case, day, facts)
            break
        except Unfit as found:
            unfit |= found.names
    return counts, reason


def _write(
    connection: Connection, archive: Archive, use_case: UseCase, day: date, facts: DayFacts
) -> None:
    schema = make_schema(use_case, facts)
    with archive.writing(use_case.name, day) as stream:
        with pyarrow.parquet.ParquetWriter(
            stream, schema, compression="zstd", write_page_checksum=True
        ) as writer:
            for page in read_answers(connection, use_case.name, *period_of(day)):
                writer.write_table(make_table(page, use_case, schema, facts))


def find_fault(archive: Archive, use_case: UseCase, day: date, counts: DayCounts) -> str:
    """Why the file of a day does not stand for what the database has; empty when it does.

    Raises ArchiveError when it cannot be read.
    """
    with _opened(archive, use_case, day) as found:
        if found is None:
            return "it had no file"
        if found[1].counts != counts:
            return "its records have changed"
        return "" if {*use_case.columns} <= {*found[1].features} else "its file lacks a column"


def read_day(
    connection: Connection,
    archive: Archive,
    use_case: UseCase,
    span: Span,
    *,
    keys_only: bool = False,
) -> Iterator[Rows]:
    """The rows of a part of a day, with the labels of now.

    Raises ArchiveError when its file is another one by now, or cannot be read.
    """
    day, since, until = span.day, span.since, span.until
    assert day is not None
    assert since is not None
    assert until is not None
    with _opened(archive, use_case, day) as found:
        if found is None or found[1].counts != span.counts:
            raise ArchiveError(
                where=f"archive, to read {day}",
                wanted="the file that was there a moment ago",
                got="another one" if found else "none",
                then="read again",
            )
        file, facts = found
        kinds = {} if keys_only else {name: facts.features[name] for name in use_case.columns}
        names = [REQUEST, ROW, KEY, *kinds]
        for group in range(file.num_row_groups):
            with asking(f"read {day}"):
                within = find_within(file.read_row_group(group, columns=[TIME]), since, until)
                if not within.true_count:
                    continue
                table = file.read_row_group(group, columns=names).select(names)
                if within.true_count < table.num_rows:
                    table = table.filter(within)
                ids = read_ids(table)
            columns = {}
            if use_case.key is not None:
                columns[use_case.key] = Column(others=read_keys(table))
            if not keys_only:
                with asking(f"read {day}"):
                    columns |= read_features(table, kinds)
                requests = table.column(REQUEST).unique().to_pylist()
                columns[use_case.target.column] = place_labels(
                    read_labels(connection, requests), ids
                )
            yield table.num_rows, columns


@contextmanager
def _opened(archive: Archive, use_case: UseCase, day: date) -> Iterator[Any]:
    """A file and what it says of itself; None where there is none."""
    stream = archive.open(use_case.name, day)
    if stream is None:
        yield None
        return
    with stream:
        with asking(f"read {day}"):
            file = pyarrow.parquet.ParquetFile(stream, page_checksum_verification=True)
            facts = read_facts(file.schema_arrow)
        yield file, facts
