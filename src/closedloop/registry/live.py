"""What `production` points at, and its files, read without MLflow's library.

Why not with the library: importing it takes a service seconds at its start and 200 MB of memory.
A contract test holds this reader to what `versions.py` says. The last good version is remembered
on disk, so that a service can start while MLflow is down.
"""

from __future__ import annotations

import json
import os
import tempfile
from functools import partial
from pathlib import Path

from closedloop.bundle.files import BUNDLE_FILES, model_digest, read_file
from closedloop.errors import ClosedLoopError, RegistryError
from closedloop.registry.artifacts import check_place, download_bundle
from closedloop.registry.download import download_files, find_kept, remove_downloads
from closedloop.registry.live_rest import RegistryServer
from closedloop.registry.live_sql import RegistryTables
from closedloop.registry.mlflow_client import without_password
from closedloop.registry.moved_home import find_own_files
from closedloop.registry.runs import DIGEST

PRODUCTION, PREVIOUS, WINDOW = "production", "previous", "closedloop.window"


class ProductionReader:
    """One model's `production` in MLflow.

    `artifacts` is where an embedded MLflow keeps files, `downloads` the folder for downloaded files
    and for the note of the last good version.
    """

    def __init__(self, name: str, tracking_uri: str, *, artifacts: Path, downloads: Path) -> None:
        self._name, self._uri, self._folder = name, tracking_uri, downloads / name
        self._artifacts = artifacts
        self._registry = (
            RegistryServer(tracking_uri)
            if tracking_uri.startswith("http")
            else RegistryTables(tracking_uri)
        )
        self._windows: dict[int, str] = {}
        self._downloaded: dict[int, tuple[Path, str]] = {}

    def find(self, alias: str = PRODUCTION) -> int | None:
        """The version that `production`, or another alias, points at; raises RegistryError."""
        try:
            return self._registry.aliased(self._name, alias)
        except Exception as error:  # an answer that is not MLflow's may do anything to its reader
            raise self._unreachable(f"read the alias {alias}", error) from error

    def download(self, number: int) -> Path:
        """The folder of a version's bundle on this machine, downloaded if need be.

        Raises RegistryError when there is no such version or its files cannot be downloaded,
        ModelError when they were changed after registration.
        """
        source, tags = self._look_up(number)
        digest = tags.get(DIGEST, "")
        try:
            # The service's own copy outlives the store.
            folder = find_kept(self._folder, number, digest) or download_files(
                check_place(source, self._uri, self._artifacts),
                number,
                digest,
                into=self._folder,
                download=partial(download_bundle, self._uri),
            )
        except ClosedLoopError:
            raise
        except Exception as error:
            raise self._unreachable(f"download version {number}", error) from error
        self._windows[number], self._downloaded[number] = tags.get(WINDOW, ""), (folder, digest)
        return folder

    def digest(self, number: int) -> str | None:
        """The sha256 of a version's files, as registered; None when there is no such version.

        Raises RegistryError when the registry cannot be reached.
        """
        found = self._find_version(number)
        return None if found is None else found[1].get(DIGEST, "")

    def open_last_good(self) -> Path:
        """The folder of the last good version, whatever the registry says of its number.

        Raises RegistryError when there is none.
        """
        if (remembered := self._read_memory()) is None:
            raise RegistryError(
                where=str(self._memory),
                wanted="a version that was in service here",
                got="none whose files are complete",
                then="run: closedloop doctor",
            )
        self._windows[remembered[0]] = remembered[2]
        return remembered[1]

    def window(self, number: int) -> str:
        """The window that a downloaded version was trained for."""
        return self._windows.get(number, "")

    def remember(self, number: int) -> None:
        """Keep a downloaded version as the last good one, when it has come into service.

        The copy is the service's own: it outlives the registry and its store.
        """
        if number not in self._downloaded:
            return  # noted before
        folder, digest = self._downloaded[number]
        folder = download_files(
            "copy:", number, digest, into=self._folder, download=partial(_copy, folder)
        )
        noted = {
            "version": number,
            # From here, so that it is found in a home that was moved or copied.
            "folder": os.path.relpath(folder.resolve(), self._folder.resolve()),
            "sha256": digest,
            "window": self.window(number),
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor, path = tempfile.mkstemp(dir=self._folder, prefix="last-good-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(noted, file)
        os.replace(path, self._memory)

    def remove_others(self, number: int) -> None:
        """Delete downloads that are not needed now that version `number` answers; never raises.

        That version and the last good one stay, and the most recently used of the others, to which
        a rollback may lead.
        """
        if number in self._downloaded:
            remembered = self._read_note()
            remove_downloads(
                self._folder,
                [self._downloaded[number][0], *([remembered[1]] if remembered else [])],
            )

    def last_good(self) -> int | None:
        """The version that was last in service here, if its files are still complete."""
        remembered = self._read_memory()
        return None if remembered is None else remembered[0]

    @property
    def _memory(self) -> Path:
        return self._folder / "last_good.json"

    def _look_up(self, number: int) -> tuple[str, dict[str, str]]:
        """Where a version's files are, and its tags; raises RegistryError."""
        found = self._find_version(number)
        if found is None:
            raise RegistryError(
                where=f"model {self._name}",
                wanted=f"version {number}",
                got="no such version",
                then="run: closedloop status",
            )
        return found

    def _find_version(self, number: int) -> tuple[str, dict[str, str]] | None:
        try:
            find_own_files(self._uri, self._artifacts)
            return self._registry.version(self._name, number)
        except Exception as error:  # an answer that is not MLflow's may do anything to its reader
            raise self._unreachable(f"find version {number}", error) from error

    def _read_memory(self) -> tuple[int, Path, str] | None:
        noted = self._read_note()
        try:
            return noted[:3] if noted is not None and model_digest(noted[1]) == noted[3] else None
        except OSError:
            return None

    def _read_note(self) -> tuple[int, Path, str, str] | None:
        """Version, folder, window and digest of the last good version; no file is checked."""
        try:
            noted = json.loads(self._memory.read_text(encoding="utf-8"))
            return (
                int(noted["version"]),
                (self._folder / noted["folder"]).resolve(),
                str(noted["window"]),
                str(noted["sha256"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _unreachable(self, purpose: str, error: Exception) -> RegistryError:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return RegistryError(
            where=without_password(f"MLflow at {self._uri}"),
            wanted=f"to {purpose}",
            got=without_password(reason),
            then="check that it runs and that MLFLOW_TRACKING_URI is right: closedloop doctor",
        )


def _copy(folder: Path, _source: str, into: Path) -> None:
    for name in BUNDLE_FILES:
        if (folder / name).exists():
            (into / name).write_bytes(read_file(folder / name))
