"""The runs of a search in MLflow: one for the search, and below it one for each trial."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from closedloop.registry.data_inputs import describe_inputs, hash_data
from closedloop.registry.runs import DATA, KEY, Runs

PARENT = "mlflow.parentRunId"


class SearchRuns(Runs):
    """Runs that are found again by their keys: a trial that is repeated fills the same run."""

    def begin(
        self,
        key: str,
        title: str,
        parameters: Mapping[str, Any],
        data: Mapping[str, str],
        *,
        parent: str | None = None,
    ) -> str:
        """The id of the run of this key, from now on running; a trial has a `parent`.

        `data` maps windows to their sha256.
        """
        with self._reaching("begin a run"):
            known = next(iter(self._runs(key)), None)
            if known is not None:
                self._client.update_run(known.info.run_id, status="RUNNING")
                return str(known.info.run_id)
            kind = {"closedloop.kind": "experiment"}
            if parent is not None:
                kind = {"closedloop.kind": "trial", PARENT: parent}
            run = self._client.create_run(
                self._experiment(), run_name=title, tags={KEY: key, DATA: hash_data(data), **kind}
            )
            used = kind["closedloop.kind"]
            self._client.log_inputs(run.info.run_id, datasets=describe_inputs(data, used))
            self._log(run, {}, parameters, {})
            return str(run.info.run_id)

    def end(
        self,
        run_id: str,
        *,
        metrics: Mapping[str, float] | None = None,
        files: Mapping[str, str | bytes] | None = None,
        step: int = 0,
        status: str = "FINISHED",
    ) -> None:
        """Log what was measured, at the metrics' step, and end the run."""
        with self._reaching("end a run"):
            self._log(self._client.get_run(run_id), metrics or {}, {}, files or {}, step)
            self._client.set_terminated(run_id, status=status)

    @contextmanager
    def observing(self, run_id: str) -> Iterator[None]:
        """MLflow notes itself what is fitted in the block: every setting, scores on training rows.

        It knows only one active run and one address for a process: both are given back.
        """
        os.environ.setdefault("MPLBACKEND", "Agg")  # it draws with pyplot
        with self._reaching("note a fit"):
            import mlflow
            import mlflow.sklearn

            self._place_of(self._client.get_run(run_id))  # it writes there without asking us
            before = os.environ.get("MLFLOW_TRACKING_URI")
            mlflow.set_tracking_uri(self.tracking_uri)
            mlflow.start_run(run_id=run_id)
            mlflow.sklearn.autolog(
                # The model would be a pickle, and the rows are noted by their sha256.
                log_models=False,
                log_datasets=False,
                log_post_training_metrics=False,
                silent=True,
            )
        try:
            yield
        finally:
            with self._reaching("note a fit"):
                mlflow.sklearn.autolog(disable=True, silent=True)
                mlflow.end_run("RUNNING")
                mlflow.set_tracking_uri(before)
