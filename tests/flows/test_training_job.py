"""Prefect's own worker makes the job of stack/kubernetes/base/training-job.json, as the cluster's
API gets it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
import yaml
from kubernetes_validate import validate
from prefect.client.schemas.objects import Flow, FlowRun
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)

from tests.house.manifests import KUBERNETES, fill_training_job, read_training_job

SECRET = "admin:a password of the test"
WORKER = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_"


class Cluster(HTTPServer):
    """As much of Kubernetes as takes a job; `asked` is what it was sent, by address."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        asked = self.asked

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked.append((self.path, job))
                named = {**job, "metadata": {**job["metadata"], "name": "training-x"}}
                content = json.dumps(named).encode()
                self.send_response(201)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *_: Any) -> None: ...

        super().__init__(("127.0.0.1", 0), Answer)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster that this process is logged in to."""
    found = Cluster()
    address = f"http://127.0.0.1:{found.server_port}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": address}}],
        "users": [{"name": "me", "user": {"token": "a token"}}],
    }
    (tmp_path / "config").write_text(json.dumps(config), encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    serving = Thread(target=found.serve_forever, daemon=True)
    serving.start()
    yield found
    found.shutdown()
    serving.join()
    found.server_close()


def _settings_of_the_worker() -> dict[str, str]:
    """The variables of Prefect's worker for Kubernetes that training-worker.yaml sets."""
    text = (KUBERNETES / "base" / "training-worker.yaml").read_text(encoding="utf-8")
    deployment = next(iter(yaml.safe_load_all(text)))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {
        variable["name"]: variable["value"]
        for variable in container["env"]
        if variable["name"].startswith(WORKER)
    }


@pytest.mark.slow
def test_a_training_is_a_job_as_the_template_says(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker takes the template and sends one job: its pod is that of the template, with the
    image and the nodes that the deployment chose. It names the Secret of Prefect's login instead of
    showing it, and keeps the label that the network policies look for."""
    from prefect_kubernetes.worker import KubernetesWorker

    for name, value in _settings_of_the_worker().items():
        monkeypatch.setenv(name, value)
    chosen = {
        "namespace": "mine",
        "image": "registry.example.org/loop:1",
        "node_selector": {"pool": "training"},
        "memory_limit": "8Gi",
        "env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"},
    }

    async def make_job() -> str:
        configuration = await KubernetesWorker.job_configuration.from_template_and_values(
            read_training_job(), chosen
        )
        flow = Flow(id=uuid4(), name="train-and-compare")
        run = FlowRun(id=uuid4(), flow_id=flow.id, name="a run")
        configuration.prepare_for_flow_run(run, flow=flow, worker_name="training-worker")
        worker = KubernetesWorker(work_pool_name="closedloop-training")
        return (await worker.run(run, configuration)).identifier

    with temporary_settings(
        {
            PREFECT_API_URL: "http://prefect-server:4200/api",
            PREFECT_API_AUTH_STRING: SECRET,
            PREFECT_LOGGING_TO_API_ENABLED: False,
        }
    ):
        assert asyncio.run(make_job()) == "mine:training-x"

    [(path, job)] = cluster.asked
    assert path == "/apis/batch/v1/namespaces/mine/jobs"
    pod, wanted = job["spec"]["template"], fill_training_job()["spec"]["template"]
    assert pod["metadata"]["labels"].items() >= wanted["metadata"]["labels"].items()
    assert pod["spec"]["nodeSelector"] == {"pool": "training"}
    (container,), (planned,) = pod["spec"]["containers"], wanted["spec"]["containers"]
    assert container["image"] == "registry.example.org/loop:1"
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "8Gi"}
    for same in ("envFrom", "securityContext", "volumeMounts"):
        assert container[same] == planned[same]
    for same in ("securityContext", "volumes", "automountServiceAccountToken"):
        assert pod["spec"][same] == wanted["spec"][same]

    variables = {variable.pop("name"): variable for variable in container["env"]}
    assert variables["PREFECT_API_AUTH_STRING"] == {
        "valueFrom": {"secretKeyRef": {"name": "closedloop", "key": "PREFECT_AUTH_STRING"}}
    }
    assert SECRET not in json.dumps(job)
    assert variables["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == {"value": "30"}
    assert variables["MLFLOW_TRACKING_USERNAME"] == {"value": "trainer"}
    for variable in planned["env"]:
        assert variables[variable.pop("name")] == variable

    # Prefect puts these where Kubernetes does not know them, and drops them with a warning.
    for misplaced in ("parallelism", "completions"):
        del pod["spec"][misplaced]
    for variable, value in variables.items():
        value["name"] = variable
    validate(job, "1.30", strict=True)
