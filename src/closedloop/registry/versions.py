"""Register, promote, reject, roll back and load model versions. MLflow's only door.

Aliases `production` and `previous` say what is live; the tag `closedloop.status` says what became
of every other version. Every change can be repeated after a crash: it looks at what is there before
it moves anything.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from closedloop.bundle.loaded import LoadedVersion, load_with_pipeline
from closedloop.bundle.skops_model import TRUSTED_TYPES, pinned_requirements
from closedloop.errors import RegistryError
from closedloop.registry.download import fetch_files, kept_name
from closedloop.registry.runs import DIGEST, KEY, MODEL_PATH, Tracking, download, is_tagged

PRODUCTION, PREVIOUS = "production", "previous"
STATUS = "closedloop.status"
# The files are being deleted, and are gone: no version of the two can be loaded any more.
PRUNING, PRUNED = "pruning", "pruned"


@dataclass(frozen=True)
class VersionFacts:
    """What the registry says of one version, without loading it. `served_by` is `onnx` or
    `pipeline`."""

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


class Registry(Tracking):
    """One use case's models in MLflow, beside the runs that made them. `downloads` is where fetched
    bundles are kept."""

    def __init__(self, name: str, tracking_uri: str, *, artifacts: Path, downloads: Path) -> None:
        super().__init__(name, tracking_uri, artifacts=artifacts)
        self._downloads = downloads

    # What is live

    def production(self) -> int | None:
        """The version that `production` points at, if any."""
        return self._aliased(PRODUCTION)

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
            found = self._client.search_model_versions(f"name='{self.name}'", max_results=10_000)
        facts = (_facts(one, tuple(sorted(aliases.get(int(one.version), ())))) for one in found)
        return tuple(sorted(facts, key=lambda one: one.version))

    def version(self, number: int) -> VersionFacts:
        """One version; raises RegistryError, naming those that exist, when there is no such
        version."""
        with self._reaching(f"look up version {number}"):
            found = self._version(number)
        if found is not None:
            return _facts(found, tuple(sorted(found.aliases)))
        known = ", ".join(str(one.version) for one in self.versions()) or "none yet"
        raise RegistryError(
            where=f"model {self.name}",
            wanted=f"version {number}",
            got=f"versions {known}",
            then="choose one of those",
        )

    def loadable(self, number: int) -> VersionFacts:
        """One version whose files are there; raises RegistryError as `version` does, and when they
        were pruned."""
        found = self.version(number)
        if found.status in (PRUNING, PRUNED):
            raise _has_no_files(self.name, number)
        return found

    def find_candidate(self, key: str) -> int | None:
        """The version registered under `key`, so that a repeated command finds its own work."""
        with self._reaching("look for a candidate"):
            found = self._client.search_model_versions(
                f"name='{self.name}' and {is_tagged(KEY, key)}", max_results=10_000
            )
        return min((int(one.version) for one in found), default=None)

    def load(self, number: int) -> LoadedVersion:
        """Fetch a version's bundle and read it; raises as `fetch`, and ModelError when the bundle
        itself is damaged."""
        return load_with_pipeline(self.fetch(number))

    def fetch(self, number: int) -> Path:
        """The folder of a version's bundle on this machine.

        Raises RegistryError when there is no such version, when MLflow cannot be reached or when
        the files were pruned or are not those that were registered.
        """
        with self._reaching(f"load version {number}"):
            found = self._version(number)
            if found is not None and found.tags.get(STATUS) in (PRUNING, PRUNED):
                raise _has_no_files(self.name, number)
            if found is not None:
                return self._fetch(found.source, number, found.tags.get(DIGEST, ""))
        self.version(number)
        raise AssertionError(f"version {number} appeared while it was looked for")

    def _fetch(self, source: str, number: int, digest: str) -> Path:
        kept = self._downloads / self.name / kept_name(number, digest)
        return fetch_files(
            source,
            f"model {self.name} version {number}",
            digest,
            kept=kept,
            download=self._download,
        )

    def _download(self, source: str, folder: Path) -> Path:
        return Path(download(self.tracking_uri, source, str(folder)))

    # What is written

    def save_model(
        self, pipeline: Any, folder: Path, sample: pd.DataFrame, answers: np.ndarray
    ) -> None:
        """Write the pipeline in MLflow's own format, so that any MLflow client can load
        `models:/NAME@production`; `sample` and the pipeline's `answers` to it, of shape (rows,
        classes), become its signature."""
        import mlflow.sklearn
        from mlflow.models import infer_signature

        with self._reaching("write the model file"):
            mlflow.sklearn.save_model(
                pipeline,
                str(folder),
                serialization_format="skops",
                skops_trusted_types=list(TRUSTED_TYPES),
                signature=infer_signature(sample, answers),
                pip_requirements=pinned_requirements(),
                pyfunc_predict_fn="predict_proba",
            )

    def register(self, key: str, run_id: str, tags: dict[str, str]) -> int:
        """Register the model of a run as a candidate, once per key; returns its version.

        The digest is the one that was logged with the files: after a crash, a repeated command has
        packaged the model anew, and no two packages are the same to the byte.
        """
        if (known := self.find_candidate(key)) is not None:
            return known
        with self._reaching("register a model"):
            if self._model() is None:
                self._client.create_registered_model(self.name)
            run = self._client.get_run(run_id)
            facts = {f"closedloop.{name}": value for name, value in tags.items()}
            self._client.create_model_version(
                self.name,
                source=f"{run.info.artifact_uri}/{MODEL_PATH}",
                run_id=run_id,
                tags={
                    KEY: key,
                    STATUS: "candidate",
                    DIGEST: run.data.tags.get(DIGEST, ""),
                    **facts,
                },
            )
        # Not the version that was just made: MLflow's client repeats a request whose answer was
        # lost, and then there are two.
        registered = self.find_candidate(key)
        assert registered is not None
        return registered

    def read_file(self, number: int, name: str) -> str:
        """The text of a file that was logged with the run of a version."""
        return self.read_run_file(self.version(number).run_id, name)

    def promote(self, number: int, *, instead_of: int | None, reason: str) -> bool:
        """Move `production` to a version and keep the replaced one as `previous`.

        False, with nothing changed, when production is meanwhile neither of the two: another
        decision came in between. Raises RegistryError as `loadable` does.
        """
        live = self.production()
        if live not in (number, instead_of):
            return False
        self.loadable(number)
        with self._reaching("move the alias production"):
            if live != number:
                # previous first: a crash in between leaves production where it was and a way back
                # that is never wrong.
                if live is not None:
                    self._client.set_registered_model_alias(self.name, PREVIOUS, str(live))
                self._client.set_registered_model_alias(self.name, PRODUCTION, str(number))
            if instead_of is not None and instead_of != number:
                self._tag(instead_of, "archived", f"replaced by version {number}")
            self._tag(number, PRODUCTION, reason)
        return True

    def roll_back(self, to: int, *, instead_of: int, reason: str) -> bool:
        """Move `production` back to a version; what it leaves is archived and is no longer a
        version to go back to.

        False, with nothing changed, when production is meanwhile neither of the two. Raises
        RegistryError as `loadable` does.
        """
        if self.production() not in (to, instead_of):
            return False
        self.loadable(to)
        with self._reaching("move the alias production"):
            self._client.set_registered_model_alias(self.name, PRODUCTION, str(to))
            if self.previous() is not None:
                self._client.delete_registered_model_alias(self.name, PREVIOUS)
            self._tag(instead_of, "archived", f"rolled back to version {to}: {reason}")
            self._tag(to, PRODUCTION, reason)
        return True

    def reject(self, number: int, *, reason: str) -> None:
        """Tag a candidate as rejected, with the reason; a version that is live is left alone."""
        if number != self.production():
            with self._reaching("tag a version"):
                self._tag(number, "rejected", reason)

    def prune(self, number: int) -> None:
        """Delete the model files of a version for good, here and in MLflow's store; its number,
        tags, run and evidence stay.

        Its status says so first: a version that a crash left without some of its files is never
        taken for a whole one, and the same call goes on. Raises RegistryError when an alias points
        at it; whether it may go otherwise is the caller's to know.
        """
        with self._reaching(f"delete the files of version {number}"):
            found = self._version(number)
            if found is None or found.tags.get(STATUS) == PRUNED:
                return
            if found.aliases:
                raise RegistryError(
                    where=f"model {self.name} version {number}",
                    wanted="a version that nothing points at",
                    got=", ".join(found.aliases),
                    then="move the alias first",
                )
            self._client.set_model_version_tag(self.name, str(number), STATUS, PRUNING)
            self._delete(self._client.get_run(found.run_id), MODEL_PATH)
            shutil.rmtree(
                self._downloads / self.name / kept_name(number, found.tags.get(DIGEST, "")),
                ignore_errors=True,
            )
            self._client.set_model_version_tag(self.name, str(number), STATUS, PRUNED)

    # Inside

    def _tag(self, number: int, status: str, reason: str) -> None:
        self._client.set_model_version_tag(self.name, str(number), STATUS, status)
        self._client.set_model_version_tag(
            self.name, str(number), "closedloop.reason", reason[:5000]
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
    auc = tags.get("closedloop.val_auc")
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
    )
