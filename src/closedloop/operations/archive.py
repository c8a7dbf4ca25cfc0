"""Writes closed days of the records into the archive: copies that windows are read from.

The database stays the truth. Any file may be deleted at any time, and the next run writes it again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from closedloop.errors import UseCaseError
from closedloop.turn.open import Loop
from closedloop.windows.periods import start_of

# A request is recorded with the time at which it is written, by the clock of its machine. Waiting
# requests, a database that is busy and clocks that differ take minutes at most.
LATE = timedelta(hours=1)


@dataclass(frozen=True)
class ArchivedDay:
    """A day whose file was written, or would be: its answered rows, and why."""

    day: date
    rows: int
    why: str


@dataclass(frozen=True)
class Archiving:
    """The days that were written, how many had their file already, and the first that is open.

    That day, and those after it, may still get requests.
    """

    written: tuple[ArchivedDay, ...]
    kept: int
    open: date

    def as_json(self) -> dict[str, Any]:
        """The output of `closedloop archive --json`."""
        days = [{**asdict(found), "day": found.day.isoformat()} for found in self.written]
        return {"written": days, "kept": self.kept, "open": self.open.isoformat()}


def archive(loop: Loop, *, dry_run: bool = False) -> Archiving:
    """Write the files of all closed days that have none, or one of older records.

    Trainings, `forget` and `prune` wait for a day at a time, and it waits for them. Raises
    UseCaseError without CLOSEDLOOP_ARCHIVE, ArchiveError when a file cannot be written.
    """
    if loop.records.archive is None:
        raise UseCaseError(
            where="CLOSEDLOOP_ARCHIVE",
            wanted="a folder, or an address such as s3://bucket/folder",
            got="none",
            then="set it in the environment or in .env",
        )
    end = start_of(loop.records.now() - LATE, "day", UTC)
    written, kept = [], 0
    for start in loop.records.read_periods(loop.use_case.name, "day", end):
        found = _archive_day(loop, start, dry_run)
        if found.why:
            written.append(found)
        else:
            kept += 1
    return Archiving(tuple(written), kept, end.date())


def _archive_day(loop: Loop, start: datetime, dry_run: bool) -> ArchivedDay:
    day = start.date()
    if dry_run:
        return ArchivedDay(day, *loop.records.archive_day(loop.use_case, day, dry_run=True))
    # `forget` and `prune` hold this lock, too: a file never gets rows that are being deleted.
    with loop.training_lock("archive"):
        return ArchivedDay(day, *loop.records.archive_day(loop.use_case, day))


def tell_archiving(found: Archiving, *, dry_run: bool) -> list[str]:
    """What was or would be written, a line each."""
    verb = "would write" if dry_run else "wrote"
    lines = [f"{verb} {each.day}, {each.rows:,} rows: {each.why}" for each in found.written]
    return [
        *lines,
        f"{verb} {len(found.written)} days; {found.kept} had their file; "
        f"{found.open} and later are not closed yet",
    ]
