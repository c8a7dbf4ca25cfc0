"""Model versions in MLflow: which there are, which is live, and their files.

The aliases `production` and `previous` say what is live; the tag `closedloop.status` says what
became of every other version.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from closedloop.bundle.files import extra_files
from closedloop.bundle.loaded import LoadedVersion
from closedloop.bundle.trial import load_tried
from closedloop.decisions.deciding_measure import Measured
from closedloop.errors import RegistryError
from closedloop.registry.artifacts import download_bundle, local_folder
from closedloop.registry.download import download_files
from closedloop.registry.mlflow_client import is_tagged
from closedloop.registry.runs import DIGEST, KEY, Runs

PRODUCTION, PREVIOUS = "production", "previous"
STATUS = "closedloop.status"
# The id of the decision that last made a version production, or rejected it.
DECISION = "closedloop.decision"
# On the model: the newest hash of the journal's chain when a decision was carried out last.
HEAD = "closedloop.journal"
# The files are being deleted, or are gone: such a version cannot be loaded any more.
PRUNING, PRUNED = "pruning", "pruned"


@dataclass(frozen=True)
class VersionFacts:
    """What the registry knows about a version without loading it.

    `served_by` is `onnx` or `pipeline`. `val_auc_error` is the standard error of `val_auc`, None
    for versions that were registered before it was kept. `digest` is the sha256 of the files.
    `measured` is the same in another measure, if that decided. `learnt` names the windows that it
    was fitted on, with digests of their rows; empty where older versions did not say.
    """

    version: int
    status: str
    aliases: tuple[str, ...]
    key: str
    recipe: str
    window: str
    trained_through: str
    val_auc: float | None
    run_id: str
    served_by: str = "pipeline"
    val_auc_error: float | None = None
    digest: str = ""
    measured: Measured | None = None
    learnt: str = ""


def find_digest(versions: Iterable[VersionFacts], number: int | None) -> str | None:
    """The sha256 of a version's files; None where it is unknown."""
    digests = (facts.digest for facts in versions if facts.version == number)
    return next(digests, "") or None


class Versions(Runs):
    """One use case's versions, to look at and to load.

    `downloads` is the folder for bundles that MLflow keeps on another machine.
    """

    def __init__(
        self,
        name: str,
        tracking_uri: str,
        *,
        artifacts: Path,
        downloads: Path,
        tried: Path | None = None,
    ) -> None:
        super().__init__(
            name, tracking_uri, artifacts=artifacts, tried=tried or downloads / "tried"
        )
        self._downloads = downloads

    def production(self) -> int | None:
        """The version that `production` points at, if any."""
        return self._aliased(PRODUCTION)

    def require_production(self) -> int:
        """As `production`; raises RegistryError when nothing is live."""
        version = self.production()
        if version is None:
            raise RegistryError(
                where=f"model {self.name}",
                wanted="a production model",
                got="none",
                then="train one: closedloop monitor",
            )
        return version

    def previous(self) -> int | None:
        """The version that production replaced, if there is one to go back to."""
        return self._aliased(PREVIOUS)

    def versions(self) -> tuple[VersionFacts, ...]:
        """Every version, oldest first."""
        with self._reaching("list the versions"):
            model = self._model()
            if model is None:
                return ()
            aliases: dict[int, list[str]] = {}
            for alias, version in model.aliases.items():
                aliases.setdefault(int(version), []).append(alias)
            versions = self._client.search_model_versions(f"name='{self.name}'", max_results=10_000)
        facts = (
            _facts(version, tuple(sorted(aliases.get(int(version.version), ()))))
            for version in versions
        )
        return tuple(sorted(facts, key=lambda version: version.version))

    def version(self, number: int) -> VersionFacts:
        """One version; raises RegistryError, which lists the known ones, when it does not exist."""
        with self._reaching(f"look up version {number}"):
            found = self._version(number)
        if found is not None:
            return _facts(found, tuple(sorted(found.aliases)))
        known = ", ".join(str(facts.version) for facts in self.versions()) or "none yet"
        raise RegistryError(
            where=f"model {self.name}",
            wanted=f"version {number}",
            got=f"versions {known}",
            then="choose one of these",
        )

    def loadable(self, number: int) -> VersionFacts:
        """As `version`; raises RegistryError also when the version's files were pruned."""
        found = self.version(number)
        if found.status in (PRUNING, PRUNED):
            raise _has_no_files(self.name, number)
        return found

    def tags(self, number: int) -> dict[str, str]:
        """What a version says of itself, by name; the code revision of older ones is their run's.

        Raises RegistryError as `version`.
        """
        run_id = self.version(number).run_id
        with self._reaching(f"look up version {number}"):
            tags = self._client.get_model_version(self.name, str(number)).tags
            commit = self._client.get_run(run_id).data.tags.get("mlflow.source.git.commit", "")
        ours = {tag.removeprefix("closedloop."): value for tag, value in tags.items()}
        return {"revision": commit, **ours}

    def find_candidate(self, key: str) -> int | None:
        """The version registered under `key`; a repeated command finds its own work by it."""
        with self._reaching("look for a candidate"):
            versions = self._client.search_model_versions(
                f"name='{self.name}' and {is_tagged(KEY, key)}", max_results=10_000
            )
        return min((int(version.version) for version in versions), default=None)

    def load(self, number: int) -> LoadedVersion:
        """Load a version with its pipeline; raises as `download`, and ModelError if damaged."""
        return load_tried(self.download(number), self._tried, "pipeline")

    def load_proved(self, number: int) -> LoadedVersion:
        """Load a version as its proof says; raises as `load`."""
        return load_tried(self.download(number), self._tried)

    def download(self, number: int) -> Path:
        """The folder of a version's bundle on this machine, downloaded if need be.

        Raises RegistryError when there is no such version, when MLflow cannot be reached, or when
        the files were pruned; ModelError when they were changed after registration.
        """
        with self._reaching(f"load version {number}"):
            found = self._version(number)
            if found is not None and found.tags.get(STATUS) in (PRUNING, PRUNED):
                raise _has_no_files(self.name, number)
            if found is not None:
                return self._download(found.source, number, found.tags.get(DIGEST, ""))
        self.version(number)
        raise AssertionError(f"version {number} appeared while it was looked for")

    def extra_files(self) -> dict[int, tuple[str, ...]]:
        """Version -> the files beside its registered ones, for versions that lie on this machine.

        Versions without such files are left out.
        """
        found = {}
        for facts in self.versions():
            with self._reaching(f"look up version {facts.version}"):
                version = self._version(facts.version)
                if version is None:  # deleted meanwhile
                    continue
                folder = local_folder(self._check_place(version.source))
            if folder is not None:
                found[facts.version] = extra_files(folder)
        return {number: names for number, names in found.items() if names}

    def read_file(self, number: int, name: str) -> str:
        """The text of a file logged with the run of a version."""
        return self.read_run_file(self.version(number).run_id, name)

    def _download(self, source: str, number: int, digest: str) -> Path:
        return download_files(
            self._check_place(source),
            number,
            digest,
            into=self._downloads / self.name,
            download=partial(download_bundle, self.tracking_uri),
        )

    def _aliased(self, alias: str) -> int | None:
        with self._reaching(f"read the alias {alias}"):
            model = self._model()
        return None if model is None or alias not in model.aliases else int(model.aliases[alias])

    def _model(self) -> Any:
        """MLflow's registered model with its aliases; None before the first version."""
        return _found(lambda: self._client.get_registered_model(self.name))

    def _version(self, number: int) -> Any:
        """MLflow's model version; None when there is none with this number."""
        return _found(lambda: self._client.get_model_version(self.name, str(number)))


def _has_no_files(name: str, number: int) -> RegistryError:
    return RegistryError(
        where=f"model {name} version {number}",
        wanted="its files",
        got="none, its files were pruned",
        then="choose another from: closedloop status, or train again",
    )


def _found(look: Callable[[], Any]) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return look()
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _facts(found: Any, aliases: tuple[str, ...]) -> VersionFacts:
    tags = found.tags
    auc, error = (tags.get(f"closedloop.{name}") for name in ("val_auc", "val_auc_error"))
    measured = tags.get("closedloop.measured")
    return VersionFacts(
        version=int(found.version),
        status=tags.get(STATUS, "unknown"),
        aliases=aliases,
        key=tags.get(KEY, ""),
        recipe=tags.get("closedloop.recipe", "unknown"),
        window=tags.get("closedloop.window", ""),
        trained_through=tags.get("closedloop.trained_through", ""),
        val_auc=float(auc) if auc else None,
        run_id=found.run_id or "",
        served_by=tags.get("closedloop.served_by", "pipeline"),
        val_auc_error=float(error) if error else None,
        digest=tags.get(DIGEST, ""),
        measured=Measured(**json.loads(measured)) if measured else None,
        learnt=tags.get("closedloop.data", ""),
    )
