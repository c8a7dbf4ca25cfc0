"""One use case's runs in MLflow: what was measured, with its files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from closedloop.bundle.files import read_file, write_manifest
from closedloop.bundle.trial import note_own
from closedloop.errors import RegistryError
from closedloop.registry.artifacts import check_place, download, download_all, local_folder
from closedloop.registry.data_inputs import describe_inputs, hash_data
from closedloop.registry.mlflow_client import all_pages, is_tagged, prepare_client, reaching
from closedloop.registry.moved_home import find_own_files

KEY, DIGEST, HAS_FILE = "closedloop.key", "closedloop.sha256", "closedloop.file"
DATA = "closedloop.data_sha256"
DROPPED = "dropped"  # the value of HAS_FILE once the file is deleted
MODEL_PATH, REPORT = "model", "drift_report.html"
PRUNED_REPORT = "the drift report was pruned"


class Runs:
    """One use case's runs.

    `artifacts` is where an embedded MLflow keeps their files, `tried` has the notes of which models
    need no trial before they are loaded here.
    """

    def __init__(self, name: str, tracking_uri: str, *, artifacts: Path, tried: Path) -> None:
        self.name, self.tracking_uri = name, tracking_uri
        self._artifacts, self._tried = artifacts, tried
        self._client_made: Any = None
        self._experiment_made: str | None = None

    def ping(self) -> None:
        """Raise RegistryError when MLflow cannot be reached."""
        with self._reaching("answer"):
            self._client.search_experiments(max_results=1)

    def start(self) -> None:
        """Create an embedded database and import what saving a model needs.

        Both take seconds, which then do not fall into the first turn.
        """
        self.ping()
        import mlflow.models
        import mlflow.sklearn
        import mlflow.store.artifact.artifact_repository_registry  # noqa: F401
        from mlflow.utils.requirements_utils import warn_dependency_requirement_mismatches

        # MLflow checks every installed package before it saves its first model, once.
        warn_dependency_requirement_mismatches(["mlflow"])

    def local_file(self, run_id: str, name: str) -> Path | None:
        """The path of a run's file on this machine; None when MLflow keeps it elsewhere."""
        with self._reaching("find a file of a run"):
            folder = local_folder(self._place_of(self._client.get_run(run_id)))
        return folder / name if folder is not None and (folder / name).exists() else None

    def run_link(self, run_id: str, ui: str) -> str:
        """The address of a run in the MLflow UI, which is at `ui`."""
        with self._reaching("find the experiment"):
            return f"{ui.rstrip('/')}/#/experiments/{self._experiment()}/runs/{run_id}/artifacts"

    def log_run(
        self,
        key: str,
        title: str,
        *,
        metrics: dict[str, float],
        parameters: dict[str, Any],
        tags: dict[str, str],
        files: dict[str, str | bytes],
        data: dict[str, str] | None = None,
        folder: Path | None = None,
    ) -> str:
        """Log a finished run, once per `key`; returns its id.

        `files` maps names to content, `data` maps windows to their sha256, which the run gets as
        inputs and together as a tag, and `folder` is logged under `model/`, with a manifest, which
        is written into it. A run that a crash left unfinished is marked as killed.
        """
        packed = {} if not data else {DATA: hash_data(data)}
        if folder is not None:
            packed[DIGEST] = write_manifest(folder)
            note_own(packed[DIGEST], self._tried)
        with self._reaching("log a run"):
            for run in self._runs(key):
                if run.info.status == "FINISHED":
                    return str(run.info.run_id)
                if run.info.status == "RUNNING":
                    self._client.set_terminated(run.info.run_id, status="KILLED")
            run = self._client.create_run(
                self._experiment(), run_name=title, tags={KEY: key, **tags, **packed}
            )
            run_id = str(run.info.run_id)
            self._log(run, metrics, parameters, files)
            if data:
                used = tags.get("closedloop.kind", "training")
                self._client.log_inputs(run_id, datasets=describe_inputs(data, used))
            if folder is not None:
                self._upload(run, str(folder), MODEL_PATH)
            self._client.set_terminated(run_id, status="FINISHED")
            return run_id

    def _log(
        self,
        run: Any,
        metrics: Mapping[str, float],
        parameters: Mapping[str, Any],
        files: Mapping[str, str | bytes],
        step: int = 0,
    ) -> None:
        from mlflow.entities import Metric, Param

        self._client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, float(value), 0, step) for name, value in metrics.items()],
            params=[Param(name, str(value)[:500]) for name, value in parameters.items()],
        )
        with tempfile.TemporaryDirectory() as temporary:
            for name, content in files.items():
                path = Path(temporary) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.encode() if isinstance(content, str) else content)
            if files:
                self._upload(run, temporary)

    def read_run_file(self, run_id: str, name: str) -> str:
        """The text of a file logged with a run."""
        found = self.read_run_files(run_id, [name])
        if name not in found:
            raise RegistryError(
                where=f"run {run_id} in MLflow",
                wanted=f"its file {name}",
                got="no such file",
                then="restore it from a backup, or train again: closedloop train",
            )
        return found[name]

    def read_run_files(self, run_id: str, names: Sequence[str]) -> dict[str, str]:
        """The texts of those of the files `names` that were logged with a run."""
        with self._reaching("read files of a run"), tempfile.TemporaryDirectory() as temporary:
            place, folder = self._place_of(self._client.get_run(run_id)), Path(temporary)
            if (local := local_folder(place)) is not None:
                folder = local
            else:
                download(self.tracking_uri, place, names, folder)
            there = [name for name in names if (folder / name).exists()]
            return {name: read_file(folder / name).decode() for name in there}

    def put_files(self, run_id: str, files: Mapping[str, str]) -> None:
        """Write texts into a run that is finished, in the place of files with the same names."""
        with self._reaching("write files of a run"), tempfile.TemporaryDirectory() as temporary:
            run = self._client.get_run(run_id)
            for name, content in files.items():
                (Path(temporary) / name).write_text(content, encoding="utf-8")
            self._store_of(run).log_artifacts(temporary)

    def all_files(self, run: Any, folder: Path) -> Path:
        """The folder with all files of a run: where they are on this machine, or else `folder`.

        Raises OSError for links among them, which would copy what lies elsewhere.
        """
        place = self._place_of(run)
        if (local := local_folder(place)) is not None:
            if links := [path.name for path in local.rglob("*") if path.is_symlink()]:
                raise OSError(f"{links[0]} in {local} is a link")
            return local
        download_all(self.tracking_uri, place, folder)
        return folder

    def drop_files(self, name: str, *, keep: int) -> int:
        """Delete the file `name` from all runs but the newest `keep`; returns how many.

        A report takes megabytes, and every turn writes another. The runs and their metrics stay.
        """
        with self._reaching(f"delete old files {name}"):
            found = self._runs_with_file(name)[keep:]
            for run in found:
                self._delete(run, name)
                self._client.set_tag(run.info.run_id, HAS_FILE, DROPPED)
        return len(found)

    def count_files(self, name: str) -> int:
        """How many runs still have the file `name`."""
        with self._reaching(f"count files {name}"):
            return len(self._runs_with_file(name))

    def is_pruned(self, run_id: str) -> bool:
        """Whether the run was deleted, or `drop_files` deleted its file."""
        with self._reaching("find a run"):
            from mlflow.exceptions import MlflowException

            try:
                run = self._client.get_run(run_id)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return True
                raise
            deleted = run.info.lifecycle_stage == "deleted"
            return bool(deleted or run.data.tags.get(HAS_FILE) == DROPPED)

    # Inside

    def _runs_with_file(self, name: str) -> list[Any]:
        """Newest first."""
        return list(
            all_pages(
                lambda token: self._client.search_runs(
                    [self._experiment()],
                    filter_string=f"tags.`{HAS_FILE}` = '{name}'",
                    max_results=1000,
                    order_by=["attributes.start_time DESC"],
                    page_token=token,
                )
            )
        )

    def _delete(self, run: Any, name: str) -> None:
        """Delete a file or folder of a run, if it is there, wherever MLflow keeps it."""
        self._store_of(run).delete_artifacts(name)

    def _upload(self, run: Any, folder: str, inside: str | None = None) -> None:
        self._store_of(run).log_artifacts(folder, inside)

    def _store_of(self, run: Any) -> Any:
        """MLflow's store of a run's files, at the address that was checked, not at a later one."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(self._place_of(run), tracking_uri=self.tracking_uri)

    def _place_of(self, run: Any) -> str:
        return self._check_place(run.info.artifact_uri)

    def _check_place(self, uri: str) -> str:
        return check_place(uri, self.tracking_uri, self._artifacts)

    def _runs(self, key: str) -> Any:
        return self._client.search_runs([self._experiment()], filter_string=is_tagged(KEY, key))

    @property
    def _client(self) -> Any:
        if self._client_made is None:
            prepare_client(self.tracking_uri)
            find_own_files(self.tracking_uri, self._artifacts)
            from mlflow import MlflowClient

            self._client_made = MlflowClient(
                tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri
            )
        return self._client_made

    def _experiment(self) -> str:
        if self._experiment_made is None:
            found = self._client.get_experiment_by_name(self.name)
            if found is None:
                embedded = not self.tracking_uri.startswith("http")
                location = (self._artifacts / self.name).as_uri() if embedded else None
                try:
                    self._experiment_made = str(
                        self._client.create_experiment(self.name, artifact_location=location)
                    )
                except Exception:
                    # Another process may just have created it; otherwise the error stands.
                    found = self._client.get_experiment_by_name(self.name)
                    if found is None:
                        raise
            if found is not None:
                self._experiment_made = str(found.experiment_id)
        assert self._experiment_made is not None
        return self._experiment_made

    def _reaching(self, purpose: str) -> AbstractContextManager[None]:
        return reaching(self.tracking_uri, purpose)
