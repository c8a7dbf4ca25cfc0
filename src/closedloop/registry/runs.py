"""How MLflow is reached, with bounded patience and errors of ours; and one use case's runs in it:
what was measured, with its files."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from closedloop.bundle.files import model_digest
from closedloop.errors import ClosedLoopError, RegistryError

KEY, DIGEST, HAS_FILE = "closedloop.key", "closedloop.sha256", "closedloop.file"
MODEL_PATH, REPORT = "model", "drift_report.html"

# What MLflow's client is told unless the environment says otherwise.
CLIENT_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # With a server it would print the address of every finished run, into what a command prints for
    # programs.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # The addresses that a server signs for direct transfers are often known inside its own network
    # only.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
    # By itself it tries for four minutes to reach a server that is away, and waits two minutes for
    # each answer. Whoever calls us can be called again, and a person wants to know soon: about
    # three seconds for a server that is away, one minute for one that hangs.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def prepare_client(tracking_uri: str) -> None:
    """Settings and folder that MLflow's client has to find; raises OSError or sqlite3.Error when an
    embedded database cannot be opened.

    MLflow itself would try for minutes to open a file that cannot be opened.
    """
    for name, value in CLIENT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    if tracking_uri.startswith("sqlite:///"):
        database = Path(tracking_uri.removeprefix("sqlite:///").partition("?")[0])
        database.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA schema_version")


class Tracking:
    """One use case's runs. `artifacts` is where an embedded MLflow keeps their files."""

    def __init__(self, name: str, tracking_uri: str, *, artifacts: Path) -> None:
        self.name, self.tracking_uri = name, tracking_uri
        self._artifacts = artifacts
        self._client_made: Any = None
        self._experiment_made: str | None = None

    def ping(self) -> None:
        """Raise RegistryError when MLflow cannot be reached."""
        with self._reaching("answer"):
            self._client.search_experiments(max_results=1)

    def start(self) -> None:
        """Make an embedded database and import what saving a model needs: seconds that need not
        fall into the first turn."""
        self.ping()
        import mlflow.models
        import mlflow.sklearn
        import mlflow.store.artifact.artifact_repository_registry  # noqa: F401
        from mlflow.utils.requirements_utils import warn_dependency_requirement_mismatches

        # MLflow looks at every installed package before it saves its first model, and remembers
        # what it found.
        warn_dependency_requirement_mismatches(["mlflow"])

    def local_file(self, run_id: str, name: str) -> Path | None:
        """Where a file of a run lies on this machine; None when MLflow keeps it elsewhere."""
        with self._reaching("find a file of a run"):
            parsed = urlparse(self._client.get_run(run_id).info.artifact_uri)
        path = Path(unquote(parsed.path)) / name
        return path if parsed.scheme in ("", "file") and path.exists() else None

    def run_link(self, run_id: str, ui: str) -> str:
        """Where a person sees a run: `ui` is the address of the MLflow UI."""
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
        """Log one finished run and return its id; the run already logged under `key` is returned as
        it is.

        `files` maps names to content, `data` names the windows used to their sha256, `folder` is
        logged under `model/`. A run that a crash left half-written is marked killed.
        """
        packed = {} if folder is None else {DIGEST: model_digest(folder)}
        with self._reaching("log a run"):
            for run in self._runs(key):
                if run.info.status == "FINISHED":
                    return str(run.info.run_id)
                if run.info.status == "RUNNING":
                    self._client.set_terminated(run.info.run_id, status="KILLED")
            run_id = str(
                self._client.create_run(
                    self._experiment(), run_name=title, tags={KEY: key, **tags, **packed}
                ).info.run_id
            )
            from mlflow.entities import Metric, Param

            self._client.log_batch(
                run_id,
                metrics=[Metric(name, float(value), 0, 0) for name, value in metrics.items()],
                params=[Param(name, str(value)[:500]) for name, value in parameters.items()],
            )
            with tempfile.TemporaryDirectory() as temporary:
                for name, content in files.items():
                    path = Path(temporary) / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content.encode() if isinstance(content, str) else content)
                if files:
                    self._client.log_artifacts(run_id, temporary)
            if data:
                self._client.log_inputs(
                    run_id, datasets=[_data_input(name, digest) for name, digest in data.items()]
                )
            if folder is not None:
                self._client.log_artifacts(run_id, str(folder), MODEL_PATH)
            self._client.set_terminated(run_id, status="FINISHED")
            return run_id

    def read_run_file(self, run_id: str, name: str) -> str:
        """The text of a file that was logged with a run."""
        import mlflow

        with self._reaching(f"read {name} of a run"), tempfile.TemporaryDirectory() as temporary:
            uri = f"{self._client.get_run(run_id).info.artifact_uri}/{name}"
            fetched = mlflow.artifacts.download_artifacts(
                artifact_uri=uri, dst_path=temporary, tracking_uri=self.tracking_uri
            )
            return Path(fetched).read_text(encoding="utf-8")

    def drop_files(self, name: str, *, keep: int) -> int:
        """Delete the file `name` of all runs that have it but the newest `keep`; returns how many
        were deleted.

        Reports are megabytes each and a loop never stops making them. The runs, with everything
        that was measured, stay.
        """
        with self._reaching(f"delete old files {name}"):
            found = self._runs_with_file(name)[keep:]
            for run in found:
                self._delete(run, name)
                self._client.set_tag(run.info.run_id, HAS_FILE, "dropped")
        return len(found)

    def count_files(self, name: str) -> int:
        """How many runs have the file `name` still."""
        with self._reaching(f"count files {name}"):
            return len(self._runs_with_file(name))

    # Inside

    def _runs_with_file(self, name: str) -> list[Any]:
        """Newest first."""
        found: list[Any] = []
        page = None
        while page is None or page.token:
            page = self._client.search_runs(
                [self._experiment()],
                filter_string=f"tags.`{HAS_FILE}` = '{name}'",
                max_results=1000,
                order_by=["attributes.start_time DESC"],
                page_token=page and page.token,
            )
            found += page
        return found

    def _delete(self, run: Any, name: str) -> None:
        """Delete a file or folder of a run, wherever MLflow keeps it; one that is not there is no
        fault."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        get_artifact_repository(
            run.info.artifact_uri, tracking_uri=self.tracking_uri
        ).delete_artifacts(name)

    def _runs(self, key: str) -> Any:
        return self._client.search_runs([self._experiment()], filter_string=is_tagged(KEY, key))

    @property
    def _client(self) -> Any:
        if self._client_made is None:
            prepare_client(self.tracking_uri)
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
                    # Another process may have made it in this moment; if it did not, the look-up
                    # below says so.
                    found = self._client.get_experiment_by_name(self.name)
                    if found is None:
                        raise
            if found is not None:
                self._experiment_made = str(found.experiment_id)
        assert self._experiment_made is not None
        return self._experiment_made

    def _reaching(self, purpose: str) -> AbstractContextManager[None]:
        return reaching(self.tracking_uri, purpose)


@contextmanager
def reaching(tracking_uri: str, purpose: str) -> Iterator[None]:
    """Whatever goes wrong in the block becomes a RegistryError that says where MLflow is and what
    was wanted of it."""
    try:
        yield
    except ClosedLoopError:
        raise
    except Exception as error:  # MLflow raises its own, SQLAlchemy's, requests' and OSError alike
        said = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise RegistryError(
            where=without_password(f"MLflow at {tracking_uri}"),
            wanted=f"to {purpose}",
            got=without_password(said),
            then="check that it runs and that MLFLOW_TRACKING_URI is right: closedloop doctor",
        ) from error


def download(tracking_uri: str, source: str, folder: str) -> str:
    """Fetch the artifacts at `source` into `folder`, by whatever MLflow has for such an address;
    where they are then."""
    import mlflow

    prepare_client(tracking_uri)
    return str(
        mlflow.artifacts.download_artifacts(
            artifact_uri=source, dst_path=folder, tracking_uri=tracking_uri
        )
    )


def is_tagged(tag: str, value: str) -> str:
    """MLflow's filter for what has a tag; a window may be named after a file that somebody named
    freely, so the quotes differ."""
    quote = '"' if "'" in value else "'"
    return f"tags.`{tag}` = {quote}{value}{quote}"


def without_password(text: str) -> str:
    """The text with the user and password of every address in it hidden."""
    return re.sub(r"//[^/@\s]*@", "//***@", text)


def _data_input(window: str, digest: str) -> Any:
    """A window as MLflow shows the inputs of a run; its own digest of a frame ignores most rows, so
    ours is given (36 of 64 digits fit)."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    described = Dataset(
        name=window,
        digest=digest[:36],
        source_type="closedloop",
        source=json.dumps({"window": window}),
    )
    return DatasetInput(described, [InputTag("mlflow.data.context", "training")])
