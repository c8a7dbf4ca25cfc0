"""Runs in the stack's image as a worker: `fill` stores some of everything, `tell` prints it.

It is read from stdin (`python - fill`), so it imports nothing of the tests.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

# An object of more than the 8 MB that S3 clients send in one piece, and small ones with names that
# need care.
LARGE = bytes(range(256)) * 40_000
SMALL = {
    "plain.txt": b"one\n",
    "deep/er/empty.bin": b"",
    "with space, ü & 100%.txt": b"two\n",
    f"{'long' * 30}.txt": b"three\n",
}


def fill() -> None:
    """Two experiments with artifacts and a registered model; a variable, a secret, a pool and a run
    under way; two decisions."""
    _fill_mlflow()
    _fill_prefect()
    _fill_journal()


def tell() -> dict[str, Any]:
    """What `fill` made, as anybody reads it who asks MLflow, Prefect and the journal."""
    return {"mlflow": _tell_mlflow(), "prefect": _tell_prefect(), "journal": _tell_journal()}


def _fill_mlflow() -> None:
    from mlflow import MlflowClient

    client = MlflowClient()
    for name in ("first", "second"):
        run = client.create_run(client.create_experiment(name), tags={"said": "ü"})
        client.log_metric(run.info.run_id, "auc", 0.875, timestamp=1, step=3)
        with tempfile.TemporaryDirectory() as folder:
            for path, content in {**SMALL, "large.bin": LARGE}.items():
                file = Path(folder, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            client.log_artifacts(run.info.run_id, folder, "files")
        client.set_terminated(run.info.run_id)
    client.create_registered_model("shop", tags={"owner": "us"})
    for number in ("1", "2"):
        client.create_model_version(
            "shop", f"runs:/{run.info.run_id}/files", run.info.run_id, tags={"number": number}
        )
    client.set_registered_model_alias("shop", "production", "2")
    client.set_registered_model_alias("shop", "previous", "1")


def _tell_mlflow() -> dict[str, Any]:
    from mlflow import MlflowClient

    client, told = MlflowClient(), {}
    for experiment in sorted(client.search_experiments(), key=lambda experiment: experiment.name):
        runs = client.search_runs([experiment.experiment_id])
        told[experiment.name] = [
            {
                "id": run.info.run_id,
                "status": run.info.status,
                "metrics": run.data.metrics,
                "said": run.data.tags.get("said"),
                "files": _digests(run.info.run_id),
            }
            for run in runs
        ]
    for version in client.search_model_versions("name = 'shop'"):
        told[f"shop {version.version}"] = [version.tags, version.source, version.run_id]
    told["shop"] = (
        [client.get_registered_model("shop").aliases]
        if any(name.startswith("shop ") for name in told)
        else []
    )
    return told


def _digests(run: str) -> dict[str, str]:
    """Path -> sha256 of every artifact of a run."""
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        mlflow.artifacts.download_artifacts(run_id=run, dst_path=folder)
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }


def _fill_prefect() -> None:
    from prefect import flow
    from prefect.blocks.system import Secret
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
    from prefect.states import Completed, Running
    from prefect.variables import Variable

    Variable.set("threshold", {"value": 3})
    Secret(value="as-it-was").save("login")
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="heavy", type="process"))
        client.create_global_concurrency_limit(
            GlobalConcurrencyLimitCreate(name="single", limit=1, active_slots=1)
        )
        asked = flow(name="asked")(lambda: None)
        client.create_flow_run(asked, name="ended", state=Completed())
        client.create_flow_run(asked, name="under-way", state=Running())


def _tell_prefect() -> dict[str, Any]:
    from prefect.blocks.system import Secret
    from prefect.client.orchestration import get_client
    from prefect.variables import Variable

    with get_client(sync_client=True) as client:
        return {
            "pools": [pool.name for pool in client.read_work_pools()],
            "runs": {run.name: run.state_name for run in client.read_flow_runs()},
            "slots": {
                limit.name: limit.active_slots for limit in client.read_global_concurrency_limits()
            },
            "variable": Variable.get("threshold"),
            "secret": Secret.load("login").get()
            if client.read_block_documents_by_type("secret")
            else None,
        }


def _fill_journal() -> None:
    from closedloop.decisions.checks import Action, Check, Decision, Kind, Outcome, Role
    from closedloop.settings import Settings
    from closedloop.storage.details import ComparisonFacts, PromotionDetails
    from closedloop.storage.engine import open_engine
    from closedloop.storage.journal import Journal

    journal = Journal(open_engine(Settings().store_url))
    for number in (1, 2):
        decision = Decision(
            Kind.PROMOTION,
            Action.PROMOTE,
            f"month_{number}",
            (Check("better", Outcome.HOLDS, Role.GATE, "more", "ü"),),
            number,
        )
        journal.carried_out(
            journal.write(
                f"key {number}",
                "shop",
                decision,
                details=PromotionDetails(comparison=ComparisonFacts(val_auc=0.875)),
            )
        )


def _tell_journal() -> list[Any]:
    from closedloop.settings import Settings
    from closedloop.storage.engine import open_engine
    from closedloop.storage.journal import Journal

    return [entry.as_json() for entry in Journal(open_engine(Settings().store_url)).history("shop")]


if __name__ == "__main__":
    # MLflow's client would ask the store itself for what is large, and nobody but the server
    # reaches that.
    os.environ.update(
        MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD="false", MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD="false"
    )
    if sys.argv[1] == "fill":
        fill()
    else:
        print(json.dumps(tell(), default=str, sort_keys=True))
