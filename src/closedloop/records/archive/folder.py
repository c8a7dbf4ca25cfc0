"""Where the files of closed days are: a folder, or a bucket of an object store."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs

from closedloop.errors import UseCaseError
from closedloop.records.archive.error import ArchiveError

VARIABLE = "CLOSEDLOOP_ARCHIVE"
FILE = "answers.parquet"
_PART = f"{FILE}.part"
_SCHEMES = ("s3", "gs", "abfs", "abfss", "file")


@contextmanager
def asking(doing: str) -> Iterator[None]:
    """Turn the errors of Arrow and of the operating system into an ArchiveError."""
    try:
        yield
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ArchiveError(
            where=f"archive, to {doing}",
            wanted="a folder or an object store that answers, and whole files",
            got=said[0],
            then=f"check {VARIABLE}, and the address and the keys of its store",
        ) from error


class Archive:
    """The files of all use cases: one for each day. Nothing is connected before it is used.

    A file appears whole or not at all. Every error is an ArchiveError, or a UseCaseError for an
    address that Arrow cannot read.
    """

    def __init__(self, address: str) -> None:
        """Raises UseCaseError for what can be neither a folder nor an address."""
        scheme, colon, rest = address.partition(":")
        is_address = bool(colon) and "/" not in scheme
        if "\0" in address:
            raise _wrong("a character that no path has")
        if is_address and not (scheme in _SCHEMES and re.match("//[^/]|///[^/]", rest)):
            raise _wrong(f"{scheme}:...")
        self._address = address if is_address else None
        self._folder = Path(address).expanduser().absolute()

    def days(self, use_case: str) -> tuple[date, ...]:
        """The days that have a file, in time order."""
        files = self._files(use_case)
        return tuple(sorted(day for day, paths in files.items() if any(map(_is_whole, paths))))

    def open(self, use_case: str, day: date) -> Any:
        """A file of Arrow's, to read; None where the day has none."""
        with asking(f"read {day}"):
            system, _ = self._opened
            try:
                return system.open_input_file(self._path(use_case, day))
            except FileNotFoundError:
                return None

    @contextmanager
    def writing(self, use_case: str, day: date) -> Iterator[Any]:
        """Give the block a file to write; it stands for the day when the block has succeeded."""
        with asking(f"write {day}"):
            system, _ = self._opened
            path = self._path(use_case, day)
            part = f"{path.removesuffix(FILE)}{_PART}"
            if isinstance(system, pyarrow.fs.LocalFileSystem):  # others have no folders
                system.create_dir(path.rpartition("/")[0], recursive=True)
            try:
                with system.open_output_stream(part) as stream:
                    yield stream
                system.move(part, path)
            except BaseException:
                self._give_up(part)
                raise

    def delete(self, use_case: str, days: Collection[date]) -> int:
        """Delete the files of these days, half written ones too; returns how many days had some."""
        found = {day: paths for day, paths in self._files(use_case).items() if day in days}
        with asking("delete days"):
            for paths in found.values():
                for path in paths:
                    with suppress(FileNotFoundError):
                        self._opened[0].delete_file(path)
        return len(found)

    def days_before(self, use_case: str, moment: datetime) -> tuple[date, ...]:
        """The days with files, half written ones too, that began before."""
        end = moment.astimezone(UTC)
        last = end.date() if end.time() > time() else end.date() - timedelta(days=1)
        return tuple(sorted(day for day in self._files(use_case) if day <= last))

    def delete_before(self, use_case: str, moment: datetime) -> int:
        """Delete the files of all days that began before; returns how many days had some."""
        return self.delete(use_case, self.days_before(use_case, moment))

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """Arrow's file system and the folder in it."""
        if self._address is None:
            return pyarrow.fs.LocalFileSystem(), str(self._folder)
        address = self._address
        if address.startswith("s3:") and "allow_delayed_open=" not in address:
            # Small files are then put by one request.
            address += f"{'&' if '?' in address else '?'}allow_delayed_open=true"
        try:
            system, folder = pyarrow.fs.FileSystem.from_uri(address)
        except pa.ArrowInvalid as error:
            raise _wrong(str(error).splitlines()[0]) from error
        return system, folder.rstrip("/")

    def _give_up(self, path: str) -> None:
        with suppress(OSError):  # the error that is being raised says more
            self._opened[0].delete_file(path)

    def _path(self, use_case: str, day: date) -> str:
        return f"{self._opened[1]}/use_case={use_case}/day={day.isoformat()}/{FILE}"

    def _files(self, use_case: str) -> dict[date, list[str]]:
        """The paths of each day's files, whole or half written."""
        found: dict[date, list[str]] = {}
        with asking("list days"):
            system, folder = self._opened
            wanted = pyarrow.fs.FileSelector(
                f"{folder}/use_case={use_case}", allow_not_found=True, recursive=True
            )
            for info in system.get_file_info(wanted):
                day = _read_day(info.path) if info.is_file else None
                if day is not None:
                    found.setdefault(day, []).append(info.path)
        return found


def _wrong(got: str) -> UseCaseError:
    return UseCaseError(
        where=VARIABLE,
        wanted="a folder, or an address such as s3://bucket/folder",
        got=got,
        then="correct it in the environment or in .env",
    )


def _is_whole(path: str) -> bool:
    return path.endswith(f"/{FILE}")


def _read_day(path: str) -> date | None:
    """The day of a file's path; None for files of others."""
    named = re.search(rf"/day=(\d{{4}}-\d\d-\d\d)/{re.escape(FILE)}(?:\.part)?$", path)
    try:
        return None if named is None else date.fromisoformat(named[1])
    except ValueError:
        return None
