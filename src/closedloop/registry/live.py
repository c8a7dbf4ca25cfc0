"""What `production` points at, and its files, read without MLflow's library.

Why not with the library: importing it takes a service seconds at its start and 200 MB of memory.
A contract test holds this reader to what `versions.py` says. The last good version is remembered
on disk, so that a service can start while MLflow is down.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from closedloop.bundle.files import BUNDLE_FILES, read_file
from closedloop.errors import ClosedLoopError, RegistryError
from closedloop.registry.artifacts import check_place, download_bundle
from closedloop.registry.download import download_files, find_kept, remove_downloads
from closedloop.registry.last_good import Kept, LastGood
from closedloop.registry.live_rest import RegistryServer
from closedloop.registry.live_sql import RegistryTables
from closedloop.registry.mlflow_client import without_password
from closedloop.registry.moved_home import find_own_files
from closedloop.registry.runs import DIGEST

PRODUCTION, PREVIOUS, WINDOW = "production", "previous", "closedloop.window"
_OURS = "closedloop."


class ProductionReader:
    """One model's `production` in MLflow.

    `artifacts` is where an embedded MLflow keeps files, `downloads` the folder for downloaded files
    and for the notes of the last good version.
    """

    def __init__(self, name: str, tracking_uri: str, *, artifacts: Path, downloads: Path) -> None:
        self._name, self._uri, self._folder = name, tracking_uri, downloads / name
        self._artifacts, self._memory = artifacts, LastGood(downloads / name)
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
        ModelError when they were changed after registration or the version is left out.
        """
        source, tags = self._look_up(number)
        digest = tags.get(DIGEST, "")
        self._memory.refuse_left_out(number, digest)
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

    def origin(self, number: int) -> tuple[dict[str, str], str]:
        """What a version says of itself, by name, and the id of its run; raises RegistryError."""
        tags = self._look_up(number)[1]
        try:
            run = self._registry.run(self._name, number)
        except Exception as error:  # an answer that is not MLflow's may do anything to its reader
            raise self._unreachable(f"find the run of version {number}", error) from error
        ours = {tag: value for tag, value in tags.items() if tag.startswith(_OURS)}
        return {tag.removeprefix(_OURS): value for tag, value in ours.items()}, run

    def open_last_good(self) -> Path:
        """The folder of the last good version, whatever the registry says of its number.

        Raises RegistryError when there is none.
        """
        if (kept := self._memory.find()) is None:
            raise RegistryError(
                where=str(self._memory.path),
                wanted="a version that was in service here",
                got="none whose files are complete",
                then="run: closedloop doctor",
            )
        self._windows[kept.version] = kept.window
        return kept.folder

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
        self._memory.note(Kept(number, folder, digest, self.window(number)))

    def leave_out(self, reason: str) -> bool:
        """As `LastGood.leave_out`: the last good version is not downloaded for an hour."""
        return self._memory.leave_out(reason)

    @property
    def noted_at(self) -> float:
        """When the last good version came into service; 0 without one."""
        return self._memory.noted_at

    def remove_others(self, number: int) -> None:
        """Delete downloads that are not needed now that version `number` answers; never raises.

        That version and the last good one stay, and the most recently used of the others, to which
        a rollback may lead.
        """
        if number in self._downloaded:
            kept = self._memory.read()
            remove_downloads(
                self._folder,
                [self._downloaded[number][0], *([kept.folder] if kept else [])],
            )

    def last_good(self) -> int | None:
        """The version that was last in service here, if its files are still complete."""
        kept = self._memory.find()
        return None if kept is None else kept.version

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

    def _unreachable(self, purpose: str, error: Exception) -> RegistryError:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return RegistryError(
            where=without_password(f"MLflow at {self._uri}"),
            wanted=f"to {purpose}",
            got=without_password(reason),
            then="check that it runs and that MLFLOW_TRACKING_URI is right: closedloop doctor",
        )


def leave_out_newest(readers: Iterable[ProductionReader], reason: str) -> None:
    """Leave out one version, of the use case whose version came into service last.

    A process that crashes does not say by which of its models; that of another use case is left out
    where it goes on crashing.
    """
    for reader in sorted(readers, key=lambda reader: reader.noted_at, reverse=True):
        if reader.leave_out(reason):
            return


def _copy(folder: Path, _source: str, into: Path) -> None:
    for name in BUNDLE_FILES:
        if (folder / name).exists():
            (into / name).write_bytes(read_file(folder / name))
