"""A version's files on this machine: downloaded once, checked by sha256, deleted when unneeded."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlparse

from closedloop.bundle.files import describe_damage, model_digest
from closedloop.errors import RegistryError

_DOWNLOADED = re.compile(r"\d+-[0-9a-f]{16}")
_LEAVING = "leaving-"


def download_files(
    source: str, label: str, digest: str, *, into: Path, download: Callable[[str, Path], Path]
) -> Path:
    """The folder with the files at `source`.

    That is `source` itself on this machine, otherwise `into`, filled by `download(source, folder)`.
    `label` names the version in errors. Raises RegistryError when the files do not have the
    `digest`, and what `download` raises.
    """
    if (local := local_folder(source)) is not None:
        return _checked(local, label, digest)
    if _is_complete(into, digest):
        with suppress(OSError):
            os.utime(into)  # `remove_downloads` keeps the most recently used
        return into
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent, prefix="downloading-") as temporary:
        complete = _checked(download(source, Path(temporary)), label, digest)
        # Renamed as a whole. When another process was faster, its copy is as good and stays.
        if into.exists() and not _is_complete(into, digest):
            with suppress(FileNotFoundError):
                into.rename(Path(temporary) / "damaged")
        with suppress(OSError):
            complete.rename(into)
    if not _is_complete(into, digest):
        raise RegistryError(
            where=label,
            wanted=f"its files in {into}",
            got="none: another process has just deleted them",
            then="try again",
        )
    return into


def local_folder(source: str) -> Path | None:
    """The path of `source` when it is on this machine."""
    parsed = urlparse(source)
    return Path(unquote(parsed.path)) if parsed.scheme in ("", "file") else None


def folder_name(number: int, digest: str) -> str:
    """The name of a downloaded version's folder."""
    return f"{number}-{digest[:16]}"


def remove_downloads(folder: Path, needed: Collection[Path]) -> None:
    """Delete the downloaded versions in `folder` that nobody needs.

    The `needed` ones stay, and the most recently used of the others. Any number of processes may
    delete and download at once: a version disappears as a whole. Nothing else in the folder is
    touched, and nothing is raised: what cannot be deleted is tried again next time.
    """
    names = {path.name for path in needed}
    with suppress(OSError):
        others = [
            path
            for path in folder.iterdir()
            if _DOWNLOADED.fullmatch(path.name) and path.name not in names
        ]
        for path in sorted(others, key=_last_used, reverse=True)[1:]:
            with suppress(OSError):
                path.rename(folder / f"{_LEAVING}{path.name}-{os.urandom(4).hex()}")
        # Including what a process left that was killed while it deleted.
        for path in folder.glob(f"{_LEAVING}*"):
            shutil.rmtree(path, ignore_errors=True)


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _is_complete(folder: Path, digest: str) -> bool:
    try:
        return folder.exists() and model_digest(folder) == digest
    except OSError:  # another process is deleting it
        return False


def _checked(folder: Path, label: str, digest: str) -> Path:
    if model_digest(folder) != digest:
        wanted = (
            f"files with sha256 {digest[:12]}"
            if digest
            else "files whose sha256 was noted at registration"
        )
        raise RegistryError(
            where=label,
            wanted=wanted,
            got=describe_damage(folder),
            then="the files were changed after registration: roll back, or train again",
        )
    return folder
