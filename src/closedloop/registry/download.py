"""A version's files on this machine: fetched once, whole or not at all, held against the sha256
that was registered, and deleted again."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlparse

from closedloop.bundle.files import model_digest
from closedloop.errors import RegistryError

_FETCHED = re.compile(r"\d+-[0-9a-f]{16}")
_LEAVING = "leaving-"


def fetch_files(
    source: str, label: str, digest: str, *, kept: Path, download: Callable[[str, Path], Path]
) -> Path:
    """The folder of the files at `source`: where they are when that is this machine, else `kept`,
    filled by `download(source, folder)`.

    `label` names the version in an error. Raises RegistryError when the files are not those of
    `digest`, and what `download` raises.
    """
    parsed = urlparse(source)
    if parsed.scheme in ("", "file"):
        return _proven(Path(unquote(parsed.path)), label, digest)
    if _is_whole(kept, digest):
        with suppress(OSError):
            os.utime(
                kept
            )  # among those that nobody answers with, the one that was asked for last is worth most
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix="fetching-") as temporary:
        proven = _proven(download(source, Path(temporary)), label, digest)
        # Whole or not at all, and never under the eyes of another process that loads the same
        # version: its copy is as good.
        if kept.exists() and not _is_whole(kept, digest):
            with suppress(FileNotFoundError):
                kept.rename(Path(temporary) / "damaged")
        with suppress(OSError):
            proven.rename(kept)
    if not _is_whole(kept, digest):
        raise RegistryError(
            where=label,
            wanted=f"its files in {kept}",
            got="none: another process deleted them at this moment",
            then="ask again",
        )
    return kept


def kept_name(number: int, digest: str) -> str:
    """What the folder of a fetched version is called."""
    return f"{number}-{digest[:16]}"


def remove_fetched(folder: Path, needed: Collection[Path]) -> None:
    """Delete the fetched versions in `folder` but those that are `needed` and the one that was
    asked for last among the others.

    Any number of processes may do so at once, and fetch meanwhile: a version goes as a whole, or is
    already gone. Nothing else in the folder is touched, and nothing is raised: what cannot be
    deleted is tried again the next time.
    """
    names = {path.name for path in needed}
    with suppress(OSError):
        others = [
            path
            for path in folder.iterdir()
            if _FETCHED.fullmatch(path.name) and path.name not in names
        ]
        for path in sorted(others, key=_asked_for, reverse=True)[1:]:
            with suppress(OSError):
                path.rename(folder / f"{_LEAVING}{path.name}-{os.urandom(4).hex()}")
        for path in folder.glob(
            f"{_LEAVING}*"
        ):  # those of a process that was killed while it deleted, too
            shutil.rmtree(path, ignore_errors=True)


def _asked_for(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _is_whole(folder: Path, digest: str) -> bool:
    try:
        return folder.exists() and model_digest(folder) == digest
    except OSError:  # somebody deletes it at this moment
        return False


def _proven(folder: Path, label: str, digest: str) -> Path:
    if (got := model_digest(folder)) != digest:
        wanted = (
            f"files with sha256 {digest[:12]}"
            if digest
            else "files whose sha256 was noted at registration"
        )
        raise RegistryError(
            where=label,
            wanted=wanted,
            got=got[:12],
            then="the files were changed after registration: roll back, or train again",
        )
    return folder
