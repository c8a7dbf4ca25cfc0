"""A version's files on this machine: downloaded once, checked by sha256, deleted when unneeded."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from closedloop.bundle.files import describe_damage, model_digest
from closedloop.errors import ModelError, RegistryError
from closedloop.registry.artifacts import local_folder

_DIGEST = re.compile(r"[0-9a-f]{64}")
_DOWNLOADED = re.compile(r"\d+-[0-9a-f]{16}")
_LEAVING = "leaving-"


def download_files(
    source: str, number: int, digest: str, *, into: Path, download: Callable[[str, Path], object]
) -> Path:
    """The folder with the files of a version of the model `into.name`.

    That is `source` itself on this machine, otherwise a folder in `into`, filled by
    `download(source, folder)`. Raises ModelError when the files do not have the `digest`,
    RegistryError when none was noted or they were deleted meanwhile, and what `download` raises.
    """
    label = f"model {into.name} version {number}"
    if not _DIGEST.fullmatch(digest):
        raise RegistryError(
            where=label,
            wanted="files whose sha256 was noted at registration",
            got=f"the note {digest[:80]!r}" if digest else "none",
            then="closedloop did not register it, or the tag was changed: roll back, or train "
            "again",
        )
    if (local := local_folder(source)) is not None:
        return _checked(local, label, digest)
    if (found := find_kept(into, number, digest)) is not None:
        return found
    kept = into / folder_name(number, digest)
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into, prefix="downloading-") as temporary:
        fetched = Path(temporary) / "files"
        fetched.mkdir()
        download(source, fetched)
        _checked(fetched, label, digest)
        # Renamed as a whole. When another process was faster, its copy is as good and stays.
        if kept.exists() and not is_complete(kept, digest):
            with suppress(FileNotFoundError):
                kept.rename(Path(temporary) / "damaged")
        with suppress(OSError):
            fetched.rename(kept)
    if not is_complete(kept, digest):
        raise RegistryError(
            where=label,
            wanted=f"its files in {kept}",
            got="none: another process has just deleted them",
            then="try again",
        )
    return kept


def find_downloads(folder: Path, number: int) -> tuple[Path, ...]:
    """The folders of a downloaded version; found by their names, whatever a registry says."""
    try:
        return tuple(
            path
            for path in folder.iterdir()
            if _DOWNLOADED.fullmatch(path.name) and path.name.startswith(f"{number}-")
        )
    except OSError:
        return ()


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


def folder_name(number: int, digest: str) -> str:
    """The name of a version's folder among the downloads."""
    return f"{number}-{digest[:16]}"


def find_kept(into: Path, number: int, digest: str) -> Path | None:
    """The folder of a version that was downloaded into `into`, if it is complete."""
    kept = into / folder_name(number, digest)
    if not is_complete(kept, digest):
        return None
    with suppress(OSError):
        os.utime(kept)  # `remove_downloads` keeps the most recently used
    return kept


def is_complete(folder: Path, digest: str) -> bool:
    """Whether a folder holds the files with this sha256."""
    try:
        return folder.exists() and model_digest(folder) == digest
    except OSError:  # another process is deleting it
        return False


def _checked(folder: Path, label: str, digest: str) -> Path:
    if model_digest(folder) != digest:
        raise ModelError(
            where=label,
            wanted=f"files with sha256 {digest[:12]}",
            got=describe_damage(folder),
            then="the files were changed after registration: restore them from a backup, "
            "roll back, or train again",
        )
    return folder
