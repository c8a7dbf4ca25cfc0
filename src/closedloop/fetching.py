"""A version's files on this machine: fetched once, whole or not at all, and held against the sha256 that was registered."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlparse

from closedloop.bundle import model_digest
from closedloop.errors import RegistryError


def fetch_files(source: str, label: str, digest: str, *, kept: Path, download: Callable[[str, Path], Path]) -> Path:
    """The folder of the files at `source`: where they are when that is this machine, else `kept`, filled by `download(source, folder)`.

    `label` names the version in an error. Raises RegistryError when the files are not those of `digest`, and what `download` raises.
    """
    parsed = urlparse(source)
    if parsed.scheme in ("", "file"):
        return _proven(Path(unquote(parsed.path)), label, digest)
    if kept.exists() and model_digest(kept) == digest:
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix="fetching-") as temporary:
        proven = _proven(download(source, Path(temporary)), label, digest)
        # Whole or not at all, and never under the eyes of another process that loads the same version: its copy is as good.
        if kept.exists() and model_digest(kept) != digest:
            kept.rename(Path(temporary) / "damaged")
        with suppress(OSError):
            proven.rename(kept)
    return _proven(kept, label, digest)


def _proven(folder: Path, label: str, digest: str) -> Path:
    if (got := model_digest(folder)) != digest:
        wanted = f"files with sha256 {digest[:12]}" if digest else "files whose sha256 was noted at registration"
        raise RegistryError(where=label, wanted=wanted, got=got[:12],
                            then="the files were changed after registration: roll back, or train again")  # fmt: skip
    return folder
