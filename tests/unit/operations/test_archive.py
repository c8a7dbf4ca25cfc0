"""Closed days go into the archive, and leave it with what is pruned or forgotten."""

from __future__ import annotations

import fcntl
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from closedloop.cli.app import main
from closedloop.cli.examine.recorded import describe_archive
from closedloop.errors import UseCaseError
from closedloop.operations.archive import archive, tell_archiving
from closedloop.operations.prune import KeepRules, prune, tell_pruning
from closedloop.records.archive.error import ArchiveError
from closedloop.records.archive.folder import Archive
from closedloop.records.store import Records
from closedloop.turn.open import Loop
from tests.answers import describe_answers
from tests.unit.operations.shelf import Shelf
from tests.unit.operations.test_prune import NOW, make_loop

TODAY = NOW.date()


def with_archive(loop: Loop, folder: Path, now: datetime = NOW) -> Loop:
    """The loop with an archive in that folder."""
    records = Records(loop.engine, now=lambda: now, archive=Archive(str(folder)))
    return replace(loop, records=records)


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    """A row in each of the last ten days; the loop never was on records."""
    return with_archive(make_loop(tmp_path, Shelf(("month_1",))), tmp_path / "archive")


def days_of(loop: Loop) -> list[int]:
    """How many days ago those in the archive were."""
    assert loop.records.archive is not None
    return [(TODAY - day).days for day in loop.records.archive.days("shop")]


def test_closed_days_are_written_once(loop: Loop, tmp_path: Path) -> None:
    """All but today; a dry run writes none, a second run nothing new, and a file that is gone comes
    back."""
    planned = archive(loop, dry_run=True)
    assert (len(planned.written), planned.kept, planned.open) == (9, 0, TODAY)
    assert days_of(loop) == []
    assert archive(loop) == planned
    assert days_of(loop) == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    again = archive(loop)
    assert (again.written, again.kept) == ((), 9)
    next((tmp_path / "archive" / "use_case=shop").rglob("*.parquet")).unlink()
    (found,) = archive(loop).written
    told = tell_archiving(replace(again, written=(found,), kept=8), dry_run=False)
    assert told == [
        f"wrote {found.day}, 1 rows: it had no file",
        f"wrote 1 days; 8 had their file; {TODAY} and later are not closed yet",
    ]


def test_doctor_says_what_is_there(loop: Loop, tmp_path: Path) -> None:
    """And fails when the archive does not answer."""
    assert describe_archive(loop) == "no day yet: closedloop archive"
    archive(loop)
    assert describe_archive(loop) == "9 days, 2026-11-11 to 2026-11-19"
    (tmp_path / "away").symlink_to(tmp_path / "away")
    with pytest.raises(ArchiveError):
        describe_archive(with_archive(loop, tmp_path / "away"))


@pytest.mark.parametrize(("minutes", "newest"), [(59, 2), (60, 1)])
def test_a_day_is_closed_an_hour_after_midnight(loop: Loop, minutes: int, newest: int) -> None:
    """A request that was answered just before midnight may still be on its way."""
    midnight = datetime(2026, 11, 20, tzinfo=UTC)
    folder = loop.settings.home_folder / "archive"
    archive(with_archive(loop, folder, midnight + timedelta(minutes=minutes)))
    assert days_of(loop)[-1] == newest


def test_without_an_archive_there_is_nothing_to_write(tmp_path: Path) -> None:
    """The error names the variable."""
    with pytest.raises(UseCaseError, match="CLOSEDLOOP_ARCHIVE: wanted a folder, or an address"):
        archive(make_loop(tmp_path, Shelf(())))


def test_files_are_written_while_nobody_forgets_or_prunes(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the lock that both of them take: a row that is erased meanwhile would come back."""
    real, held = Records.archive_day, []

    def look(*given: Any, **how: Any) -> tuple[int, str]:
        with (tmp_path / "shop-training.lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(True)
        return real(*given, **how)

    monkeypatch.setattr(Records, "archive_day", look)
    archive(loop)
    assert held == [True] * 9


def test_pruning_takes_files_along(loop: Loop, tmp_path: Path) -> None:
    """Those of days whose records go, and those that were left by a program without the archive; it
    says how many. When the archive does not answer, the records stay."""
    archive(loop)
    rules = KeepRules(20, 100, 6)
    (tmp_path / "away").symlink_to(tmp_path / "away")
    with pytest.raises(ArchiveError):
        prune(with_archive(loop, tmp_path / "away"), rules)
    assert loop.records.count("shop").predictions == 10
    planned = prune(loop, rules, dry_run=True)
    assert (planned.records, planned.archived, len(days_of(loop))) == (3, 3, 9)
    prune(replace(loop, records=Records(loop.engine, now=lambda: NOW)), rules)
    assert len(days_of(loop)) == 9
    found = prune(loop, rules)
    assert (found.records, found.archived) == (0, 3)
    assert "deleted the files of 3 days in the archive" in tell_pruning(found, dry_run=False)
    assert days_of(loop) == [6, 5, 4, 3, 2, 1]
    assert prune(loop, rules).archived == 0


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes what a dry run has said, in words and as JSON; a wrong address is a mistake of
    whoever set it."""
    folder = tmp_path / "archive"
    environment = {"CLOSEDLOOP_HOME": str(tmp_path / "home"), "CLOSEDLOOP_ARCHIVE": str(folder)}
    from closedloop.settings import Settings
    from closedloop.turn.open import open_loop

    use_case = "data/streamflow/loop.toml"
    loop = open_loop(use_case, settings=Settings.read(environment))
    at = datetime(2026, 11, 19, 12, tzinfo=UTC)
    features = {name: [None] for name in loop.use_case.columns}
    name = loop.use_case.name
    loop.records.append([describe_answers(name, 1, features, {"no": [0.5]}, at=at)])

    def say(*options: str) -> tuple[int, str]:
        code = main(["archive", "--use-case", use_case, *options], dict(environment))
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    assert say("--dry-run")[1].startswith("would write 2026-11-19, 1 rows: it had no file\n")
    assert not folder.exists()
    code, text = say("--json")
    written = [{"day": "2026-11-19", "rows": 1, "why": "it had no file"}]
    assert (code, json.loads(text)["written"]) == (0, written)
    assert loop.records.archive is not None
    assert loop.records.archive.days(name) == (date(2026, 11, 19),)
    assert not folder.stat().st_mode & 0o077
    environment["CLOSEDLOOP_ARCHIVE"] = "ftp://secret@host/folder"
    code, text = say()
    assert (code, "CLOSEDLOOP_ARCHIVE: wanted a folder" in text) == (2, True)
    assert "secret" not in text
