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
from closedloop.errors import RegistryError
from closedloop.registry.artifacts import local_folder

_DIGEST = re.compile(r"[0-9a-f]{64}")
_DOWNLOADED = re.compile(r"\d+-[0-9a-f]{16}")
_LEAVING = "leaving-"


def download_files(
    source: str, number: int, digest: str, *, into: Path, download: Callable[[str, Path], object]
) -> Path:
    """The folder with the files of a version of the model `into.name`.

    That is `source` itself on this machine, otherwise a folder in `into`, filled by
    `download(source, folder)`. Raises RegistryError when the files do not have the `digest`, and
    what `download` raises.
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
    kept = into / f"{number}-{digest[:16]}"
    if _is_complete(kept, digest):
        with suppress(OSError):
            os.utime(kept)  # `remove_downloads` keeps the most recently used
        return kept
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into, prefix="downloading-") as temporary:
        fetched = Path(temporary) / "files"
        fetched.mkdir()
        download(source, fetched)
        _checked(fetched, label, digest)
        # Renamed as a whole. When another process was faster, its copy is as good and stays.
        if kept.exists() and not _is_complete(kept, digest):
            with suppress(FileNotFoundError):
                kept.rename(Path(temporary) / "damaged")
        with suppress(OSError):
            fetched.rename(kept)
    if not _is_complete(kept, digest):
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


def _is_complete(folder: Path, digest: str) -> bool:
    try:
        return folder.exists() and model_digest(folder) == digest
    except OSError:  # another process is deleting it
        return False


def _checked(folder: Path, label: str, digest: str) -> Path:
    if model_digest(folder) != digest:
        raise RegistryError(
            where=label,
            wanted=f"files with sha256 {digest[:12]}",
            got=describe_damage(folder),
            then="the files were changed after registration: roll back, or train again",
        )
    return folder
