"""Where the rows of a window come from: days from their files, the others from the database."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from closedloop.records.archive.day_counts import count_period
from closedloop.records.archive.error import ArchiveError
from closedloop.records.archive.span import Span
from closedloop.use_case.contract import UseCase

if TYPE_CHECKING:
    # Imported where rows are read: the service only writes.
    from closedloop.records.archive.folder import Archive

_LOG = logging.getLogger("closedloop.archive")


def open_archive(address: str) -> Archive:
    """An archive, which connects to nothing before it is used.

    Raises UseCaseError for what can be neither a folder nor an address.
    """
    from closedloop.records.archive.folder import Archive

    return Archive(address)


# A shorter part of a day is read from the database: the numbers of the whole day, which say whether
# its file stands for it, would take as long.
_LEAST = timedelta(hours=3)


def split_window(
    connection: Connection,
    archive: Archive | None,
    use_case: UseCase,
    since: datetime | None,
    until: datetime | None,
) -> list[Span]:
    """The parts of a window in time order.

    An archive that does not answer is told in the log: then all is in the database's part.
    """
    if archive is None:
        return [Span(since, until)]
    spans: list[Span] = []
    try:
        for found in _find_files(connection, archive, use_case, since, until):
            if since != found.since:
                spans.append(Span(since, found.since))
            spans.append(found)
            since = found.until
    except ArchiveError as error:
        warn(error)
    if since is None or since != until:
        spans.append(Span(since, until))
    return spans


def _find_files(
    connection: Connection,
    archive: Archive,
    use_case: UseCase,
    since: datetime | None,
    until: datetime | None,
) -> Iterator[Span]:
    """The days of a window whose files stand for what the database has, and the part of each."""
    from closedloop.records.archive.day_file import find_fault, period_of

    for day in archive.days(use_case.name):
        start, end = period_of(day)
        first = start if since is None else max(since, start)
        last = end if until is None else min(until, end)
        if last - first >= _LEAST:
            counts = count_period(connection, use_case.name, start, end)
            if counts.requests and not find_fault(archive, use_case, day, counts):
                yield Span(first, last, day, counts)


def warn(error: ArchiveError) -> None:
    """Say in the log that the database is read instead."""
    _LOG.warning("%s; the rest of the window is read from the database", error)
