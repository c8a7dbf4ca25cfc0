"""What stack/kubernetes promises for every pod: known to the cluster, confined, and whole.

What its programs are told: test_kubernetes_settings.py. How pods reach each other, and how many
there are: test_kubernetes_network.py.
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib

import pytest
import yaml
from kubernetes_validate import validate

from tests.house.manifests import (
    KUBERNETES,
    ONCE,
    OVERLAYS,
    containers,
    environment,
    fill_training_job,
    find,
    pods,
    read_training_job,
    render,
)
from tests.house.tree import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
# The oldest Kubernetes that docs/kubernetes.md promises.
OLDEST = "1.30"
# What another program brings to the cluster, with a schema of its own.
OF_OTHERS = {"PodMonitor"}
# Made by the commands of docs/kubernetes.md, beside the manifests.
GIVEN_MAPS, OPTIONAL_SECRETS = {"use-case"}, {"api-keys", "own-settings"}
MAY_ASK_KUBERNETES = {"training-worker"}
each_folder = pytest.mark.parametrize("folder", [*OVERLAYS, ONCE])
each_overlay = pytest.mark.parametrize("folder", OVERLAYS)


def test_the_cluster_knows_every_field() -> None:
    """Each resource is what Kubernetes' own schemas say, without a field that they lack."""
    rendered = itertools.chain(*(render(folder) for folder in (*OVERLAYS, ONCE)))
    # Most are the same in every overlay.
    different = {json.dumps(resource) for resource in [*rendered, fill_training_job()]}
    for resource in map(json.loads, different):
        if resource["kind"] not in OF_OTHERS:
            validate(resource, OLDEST, strict=True)


@each_folder
def test_every_resource_has_its_place(folder: str) -> None:
    """One namespace, which refuses pods with rights, and no name twice."""
    resources = render(folder)
    names = [(resource["kind"], resource["metadata"]["name"]) for resource in resources]
    assert len(names) == len(set(names))
    for resource in resources:
        if resource["kind"] != "Namespace":
            assert resource["metadata"]["namespace"] == "closedloop"
    if folder in OVERLAYS:
        (namespace,) = find(resources, "Namespace", "closedloop")
        labels = namespace["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@each_folder
def test_every_pod_is_confined(folder: str) -> None:
    """Nobody is root, has a privilege, a capability or a folder of the machine, or can write to its
    image; only the worker that makes jobs may ask the cluster for anything."""
    for pod in pods(render(folder)):
        spec = pod.spec
        user = spec["securityContext"]
        assert user["runAsNonRoot"] is True
        assert user["runAsUser"] > 0
        assert user["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is (pod.name in MAY_ASK_KUBERNETES)
        # Otherwise each Service sets variables, and one named `closedloop` sets CLOSEDLOOP_PORT.
        assert spec["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        for volume in pod.volumes.values():
            (kind,) = set(volume) - {"name"}
            assert kind in {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}
    for _, container in containers(folder):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@each_folder
def test_every_container_has_limits(folder: str) -> None:
    """Requests and limits of processors and memory, and a size for whatever is kept on a node."""
    for pod, container in containers(folder):
        asked, most = container["resources"]["requests"], container["resources"]["limits"]
        for name in ("cpu", "memory"):
            assert 0 < amount(asked[name]) <= amount(most[name]), (pod.name, container["name"])
        for volume in pod.volumes.values():
            assert "emptyDir" not in volume or amount(volume["emptyDir"]["sizeLimit"]) > 0


def amount(quantity: str) -> float:
    """A quantity of Kubernetes as a number."""
    number, unit = re.fullmatch(r"([0-9.]+)(m|Mi|Gi|)", quantity).groups()  # type: ignore[union-attr]
    return float(number) * {"m": 0.001, "Mi": 2**20, "Gi": 2**30, "": 1.0}[unit]


@each_folder
def test_every_image_is_ours_and_of_this_version(folder: str) -> None:
    """An overlay names the registry of both images, and nothing runs in another one. What the image
    of the API lacks runs in the other."""
    overlay = yaml.safe_load((KUBERNETES / folder / "kustomization.yaml").read_text("utf-8"))
    named = {f"{image['newName']}:{image['newTag']}" for image in overlay["images"]}
    assert {image.rpartition(":")[2] for image in named} == {VERSION}
    for pod, container in containers(folder):
        image = container["image"]
        assert image in named or (pod.name == "training" and image == f"closedloop/loop:{VERSION}")
        assert f"closedloop/{'api' if pod.name == 'api' else 'loop'}:" in image


@each_overlay
def test_trainings_run_in_the_image_of_the_worker(folder: str) -> None:
    """`deploy` writes the image and the namespace of its pod into the template of the jobs, in the
    place of texts that stand there."""
    (worker,) = [pod for pod in pods(render(folder)) if pod.name == "worker"]
    deploy = worker.container("deploy")
    script = deploy["command"][-1]
    known = environment(deploy, render(folder))
    assert known["TRAINING_IMAGE"] == worker.container("worker")["image"] == deploy["image"]
    text = (KUBERNETES / "base" / "training-job.json").read_text(encoding="utf-8")
    for name in ("image", "namespace"):
        default = read_training_job()["variables"]["properties"][name]["default"]
        assert text.count(f'"default": "{default}"') == 1
        assert f's|"default": "{default}"|"default": "$' in script.replace("\\", "")


def test_a_training_job_uses_every_variable() -> None:
    """A variable that people can set changes something, and each placeholder has a variable."""
    template = read_training_job()
    used = set(re.findall(r"\{\{ (\w+) \}\}", str(template["job_configuration"])))
    assert used == set(template["variables"]["properties"])


@each_folder
def test_whatever_a_pod_names_exists(folder: str) -> None:
    """ConfigMaps, claims and accounts are in the overlay, or made by a command of the docs."""
    resources = (*render(folder), *(render(OVERLAYS[0]) if folder == ONCE else ()))
    maps = {found["metadata"]["name"] for found in find(resources, "ConfigMap")} | GIVEN_MAPS
    for pod in pods(render(folder)):
        for volume in pod.volumes.values():
            if "configMap" in volume:
                assert volume["configMap"]["name"] in maps
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert find(resources, "PersistentVolumeClaim", claim)
            if "secret" in volume:
                assert volume["secret"]["secretName"] in OPTIONAL_SECRETS
                assert volume["secret"]["optional"] is True
        for container in pod.containers:
            for source in container.get("envFrom", []):
                if "secretRef" in source:
                    assert source["secretRef"] in [
                        {"name": name, "optional": True} for name in OPTIONAL_SECRETS
                    ]
        if account := pod.spec.get("serviceAccountName"):
            assert find(resources, "ServiceAccount", account)
            (binding,) = find(resources, "RoleBinding", account)
            assert find(resources, "Role", binding["roleRef"]["name"])
