"""The option `stack/kubernetes/dask`: trainings fit on a Dask cluster beside an overlay."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from itertools import permutations

import pytest
import yaml
from kubernetes_validate import validate

from tests.house.manifests import (
    COMPONENT,
    KUBERNETES,
    Pod,
    Resource,
    find,
    may_ask,
    pods,
    render,
)
from tests.house.test_kubernetes import OLDEST, amount
from tests.house.tree import ROOT

CLUSTER, SCHEDULER, WORKER = "dask.org/cluster-name", "dask-scheduler", "dask-worker"


@pytest.fixture(scope="module")
def resources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Resource, ...]:
    """`production` with the line that docs/kubernetes.md tells to add."""
    stack = tmp_path_factory.mktemp("with-dask") / "stack"
    shutil.copytree(ROOT / "stack", stack)
    overlay = stack / "kubernetes" / "production"
    with (overlay / "kustomization.yaml").open("a", encoding="utf-8") as file:
        file.write("components: [../dask]\n")
    return render(str(overlay))


def dask_pods(resources: tuple[Resource, ...]) -> list[Pod]:
    """The two kinds of pods that the operator makes of the cluster, with the labels it adds."""
    (cluster,) = find(resources, "DaskCluster")
    return [
        Pod(
            labels[COMPONENT],
            {**labels, CLUSTER: cluster["metadata"]["name"], "dask.org/component": part},
            cluster["spec"][part]["spec"],
        )
        for part in ("scheduler", "worker")
        for labels in [cluster["spec"][part]["metadata"]["labels"]]
    ]


def test_the_cluster_is_ours_and_confined(resources: tuple[Resource, ...]) -> None:
    """Its pods are what Kubernetes' schemas say, in our image, in our namespace, without root,
    secrets, accounts or claims, and with limits."""
    (cluster,) = find(resources, "DaskCluster")
    assert cluster["metadata"]["namespace"] == "closedloop"
    (worker,) = [pod for pod in pods(resources) if pod.name == "worker"]
    image = worker.container("worker")["image"]
    for pod in dask_pods(resources):
        whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod.spec}
        validate(whole, OLDEST, strict=True)
        assert pod.spec["securityContext"]["runAsNonRoot"] is True
        assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.spec["enableServiceLinks"] is False
        assert [set(volume) - {"name"} for volume in pod.spec["volumes"]] == [{"emptyDir"}]
        (container,) = pod.containers
        assert container["image"] == image
        assert "envFrom" not in container
        assert all("valueFrom" not in variable for variable in container["env"])
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        asked, most = container["resources"]["requests"], container["resources"]["limits"]
        assert all(0 < amount(asked[name]) <= amount(most[name]) for name in ("cpu", "memory"))


def test_trainings_find_it(resources: tuple[Resource, ...]) -> None:
    """The setting names the Service that the operator makes of the cluster, at the port of the
    scheduler; without the option nothing names it."""
    (cluster,) = find(resources, "DaskCluster")
    service = cluster["spec"]["scheduler"]["service"]
    (scheduler, _) = dask_pods(resources)
    assert service["selector"].items() <= scheduler.labels.items()
    ports = {port["name"]: port["port"] for port in service["ports"]}
    assert set(ports) == {"tcp-comm", "http-dashboard"}  # what the operator asks for by name
    address = f"tcp://{cluster['metadata']['name']}-scheduler:{ports['tcp-comm']}"
    assert find(resources, "ConfigMap", "loop")[0]["data"]["CLOSEDLOOP_DASK"] == address
    for folder in ("small", "production"):
        assert "CLOSEDLOOP_DASK" not in find(render(folder), "ConfigMap", "loop")[0]["data"]


def test_only_trainings_reach_it(resources: tuple[Resource, ...]) -> None:
    """Whoever reaches a scheduler runs code on its workers: nobody else does, and its pods reach
    nobody but each other."""
    everybody = [*pods(resources), *dask_pods(resources)]
    ports = {
        pod.name: [port["containerPort"] for port in pod.containers[0]["ports"]]
        for pod in dask_pods(resources)
    }
    found = {
        (asker.name, asked.name, port)
        for asker, asked in permutations(everybody, 2)
        for port in ports.get(asked.name, ())
        if may_ask(resources, asker, asked, port)
    }
    assert found == {
        ("training", SCHEDULER, 8786),
        (WORKER, SCHEDULER, 8786),
        (SCHEDULER, WORKER, 8788),
        (SCHEDULER, WORKER, 8789),
    }
    workers = dask_pods(resources)[1]
    assert may_ask(resources, workers, workers, 8788)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["scheduler", "worker"])
def test_dask_knows_the_commands(part: str) -> None:
    """Every option of both commands is one of the Dask that the lock holds."""
    (cluster,) = [
        found
        for found in yaml.safe_load_all((KUBERNETES / "dask/cluster.yaml").read_text("utf-8"))
        if found["kind"] == "DaskCluster"
    ]
    (container,) = cluster["spec"][part]["spec"]["containers"]
    program, name, *options = container["command"]
    assert (program, name) == ("dask", part)
    asked = [sys.executable, "-m", program, part, "--help"]
    told = subprocess.run(asked, capture_output=True, text=True, check=True)
    known = set(re.findall(r"--[a-z-]+", told.stdout))
    assert {option for option in options if option.startswith("--")} <= known
