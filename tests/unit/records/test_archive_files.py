"""Files of the archive that are damaged, half written or out of reach, and those that have to go.

On SQLite and on a real PostgreSQL.
"""

from __future__ import annotations

import logging
import random
import struct
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from sqlalchemy import Engine

from closedloop.errors import UseCaseError
from closedloop.records import answer_pages
from closedloop.records.archive import day_file
from closedloop.records.archive.error import ArchiveError
from closedloop.records.archive.folder import Archive
from closedloop.records.store import Records
from closedloop.use_case.contract import UseCase
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.conftest import NOON
from tests.unit.records.archived_days import (  # noqa: F401
    NEXT,
    archive,
    asked,
    fill_days,
    find_file,
    records,
)
from tests.unit.records.conftest import answered
from tests.unit.records.plain_reader import keep_newest_plainly, read_plainly
from tests.unit.records.test_reading_exactly import DAY, fill, same


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What was said in the log since the last call."""
    with caplog.at_level(logging.WARNING, "closedloop.archive"):

        def said() -> list[str]:
            messages = [record.getMessage() for record in caplog.records]
            caplog.clear()
            return messages

        yield said


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def spoil(path: Path) -> None:
    """Change a byte in each of the parts behind the first: reading it finds that out half way."""
    content = bytearray(path.read_bytes())
    file = pyarrow.parquet.ParquetFile(path)
    for group in range(1, file.num_row_groups):
        column = file.metadata.row_group(group).column(0)
        content[column.data_page_offset + column.total_compressed_size // 2] ^= 0xFF
    path.write_bytes(content)


def replace_by_another(path: Path) -> None:
    pyarrow.parquet.write_table(pa.table({"spend": [1.0]}), path)


def lie(path: Path) -> None:
    """The facts of the file, and a column of another type than they say."""
    table = pyarrow.parquet.read_table(path)
    place = table.schema.get_field_index("spend")
    table = table.set_column(place, "spend", pa.array(["x"] * table.num_rows))
    pyarrow.parquet.write_table(table, path)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, spoil, replace_by_another, lie, make_folder])
def test_a_damaged_file_is_told_and_the_database_is_read(
    engine: Engine,
    records: Records,
    use_case: UseCase,
    tmp_path: Path,
    damage: Callable[[Path], None],
    asked: list[Any],
    warnings: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once, and no row comes twice or is missing, also when the fault shows half way."""
    monkeypatch.setattr(answer_pages, "PAGE_ROWS", 90)
    fill(records, 3, 0.05)
    records.append([answered("next", at=NEXT)])
    for day in (DAY, NEXT):
        records.archive_day(use_case, day.date())
    damage(find_file(tmp_path))
    if damage is make_folder:
        # Not listed as a file: the day has none.
        same(records.read(use_case), read_plainly(engine, use_case))
        return
    same(records.read(use_case), read_plainly(engine, use_case))
    (said,) = warnings()
    assert "the rest of the window is read from the database" in said
    chunks = pd.concat(list(records.read_chunks(use_case)))
    assert len(warnings()) == 1
    assert len(chunks) == len(keep_newest_plainly(read_plainly(engine, use_case), use_case))
    if damage is not spoil:
        assert records.archive_day(use_case, DAY.date())[1].startswith("its file cannot be read: ")
        asked.clear()
        assert len(records.read(use_case, DAY, NEXT)) == len(read_plainly(engine, use_case)) - 1
        assert (asked, warnings()) == ([], [])


def test_a_number_that_rots_is_found(
    engine: Engine, records: Records, use_case: UseCase, tmp_path: Path
) -> None:
    """A flipped bit in a number makes another number, which only a checksum tells apart."""
    draw = random.Random(1)
    spends = [draw.uniform(1, 2) * 10 ** draw.randrange(-300, 300) for _ in range(500)]
    records.append(
        [answered(f"r{place}", at=DAY, spend=spend) for place, spend in enumerate(spends)]
    )
    records.archive_day(use_case, DAY.date())
    path = find_file(tmp_path)
    content = path.read_bytes()
    place = content.index(struct.pack("<d", spends[333]))
    path.write_bytes(content[:place] + b"\x00" + content[place + 1 :])
    same(records.read(use_case), read_plainly(engine, use_case))


def test_a_file_that_changes_while_it_is_looked_at(
    engine: Engine,
    records: Records,
    use_case: UseCase,
    warnings: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was deleted, or written anew after a late request: the transaction that began before reads
    what it saw then."""
    fill_days(records, 1, DAY)
    records.archive_day(use_case, DAY.date())
    plain = read_plainly(engine, use_case)
    real = day_file.read_day
    archive = records.archive
    assert archive is not None

    def late(*given: Any, **how: Any) -> Any:
        other = Records(engine, now=lambda: NOON, archive=archive)
        other.append([answered("late", at=DAY)])
        other.archive_day(use_case, DAY.date())
        return real(*given, **how)

    def delete(*given: Any, **how: Any) -> Any:
        archive.delete("shop", [DAY.date()])
        return real(*given, **how)

    for meanwhile, wanted in ((delete, "got none"), (late, "got another one")):
        records.archive_day(use_case, DAY.date())
        monkeypatch.setattr(day_file, "read_day", meanwhile)
        same(records.read(use_case), plain)
        (said,) = warnings()
        assert wanted in said
        monkeypatch.setattr(day_file, "read_day", real)


@pytest.fixture
def away(engine: Engine, tmp_path: Path) -> Records:
    """Records with an archive that cannot be reached: its folder is a link to itself."""
    (tmp_path / "away").symlink_to(tmp_path / "away")
    return Records(engine, now=lambda: NOON, archive=Archive(str(tmp_path / "away")))


def test_an_archive_that_does_not_answer(
    engine: Engine, away: Records, use_case: UseCase, warnings: Callable[[], list[str]]
) -> None:
    """Reading goes on with one warning; writing fails."""
    fill_days(away, 1, DAY)
    same(away.read(use_case), read_plainly(engine, use_case))
    assert len(warnings()) == 1
    with pytest.raises(ArchiveError, match=f"archive, to write {DAY:%Y-%m-%d}: wanted"):
        away.archive_day(use_case, DAY.date())


def test_files_go_before_rows_are_erased(
    records: Records, use_case: UseCase, away: Records, tmp_path: Path
) -> None:
    """Those of the days with the person's rows, and what a killed run left of them; when they
    cannot be deleted, nothing is erased."""
    fill_days(records, 2, DAY)
    for day in (DAY, NEXT):
        records.archive_day(use_case, day.date())
    part = find_file(tmp_path).with_name("answers.parquet.part")
    part.write_bytes(b"c0")
    with pytest.raises(ArchiveError, match="archive, to list days"):
        away.erase("shop", "c0")
    assert records.find_rows("shop", "c0").rows == 1
    assert records.erase("shop", "c0") == 1
    assert [path.name for path in (tmp_path / "archive").rglob("*") if path.is_file()] == [
        "answers.parquet"
    ]
    assert find_file(tmp_path, NEXT).exists()
    assert records.archive_day(use_case, DAY.date()) == (1, "it had no file")


def test_files_go_before_records_are_deleted(
    records: Records, use_case: UseCase, away: Records, archive: Archive
) -> None:
    """Of all days that began before, also the one that loses only some of its records; when they
    cannot be deleted, the records stay."""
    fill_days(records)
    days = [(DAY - timedelta(days=age)).date() for age in (4, 3, 2, 1, 0)]
    for day in days:
        records.archive_day(use_case, day)
    with pytest.raises(ArchiveError):
        away.delete_before("shop", NOON)
    assert records.count("shop").predictions == 10
    records.delete_before("shop", DAY - timedelta(days=2))
    assert archive.days("shop") == (*days[2:],)
    records.delete_before("shop", DAY - timedelta(days=1, hours=-1))
    assert archive.days("shop") == (days[4],)
    assert records.count("shop").predictions == 3


def test_a_killed_run_leaves_no_file(
    records: Records,
    use_case: UseCase,
    archive: Archive,
    asked: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it had written stands for nothing, and the next run does the day again."""
    fill_days(records, 1, DAY)

    class Killed(BaseException):
        pass

    def kill(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(day_file, "make_table", kill)
        # As after a kill: nobody deletes what was begun.
        patched.setattr(Archive, "_give_up", lambda *_: None)
        with pytest.raises(Killed):
            records.archive_day(use_case, DAY.date())
    assert archive.days("shop") == ()
    assert len(records.read(use_case)) == 2
    assert records.archive_day(use_case, DAY.date()) == (2, "it had no file")
    assert archive.days("shop") == (DAY.date(),)


def test_files_of_others_are_left_alone(archive: Archive, tmp_path: Path) -> None:
    """Those of another use case, and whatever is not called like a day."""
    for name in (
        "use_case=shop/day=2026-11-19/answers.parquet",
        "use_case=shop/day=2026-02-30/answers.parquet",
        "use_case=shop/day=2026-11-19/notes.txt",
        "use_case=shop2/day=2026-11-19/answers.parquet",
        "use_case=shop/sub/use_case=shop/answers.parquet",
    ):
        path = tmp_path / "archive" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert archive.days("shop") == (date(2026, 11, 19),)
    assert archive.delete_before("shop", NOON) == 1
    assert sum(path.is_file() for path in (tmp_path / "archive").rglob("*")) == 4


@pytest.mark.parametrize(
    "address",
    ["s3:bucket", "s3://", "S3://bucket", "ftp://host/folder", "http://x", "C:\\x", "a\0b"],
)
def test_an_address_that_can_be_none_is_a_mistake(address: str) -> None:
    """At once, and what may be a key is not shown."""
    with pytest.raises(UseCaseError, match="CLOSEDLOOP_ARCHIVE: wanted a folder, or an address"):
        Archive(address)


@pytest.mark.parametrize("address", ["s3://bucket", "s3://bucket/a/b", "file:///srv/a", "a/b:c"])
def test_addresses_and_folders(address: str) -> None:
    """They are not asked before they are used."""
    Archive(address)


@pytest.mark.parametrize("address", ["s3:///bucket", "s3://bucket?nonsense=1"])
def test_an_address_that_arrow_cannot_read_is_a_mistake(address: str) -> None:
    """It is no archive that does not answer: reading says so, too."""
    with pytest.raises(UseCaseError, match="CLOSEDLOOP_ARCHIVE: wanted a folder, or an address"):
        Archive(address).days("shop")
