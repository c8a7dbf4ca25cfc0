"""The manifests of stack/kubernetes as the cluster gets them, and what stands in them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import yaml

from tests.house.tree import ROOT

KUBERNETES = ROOT / "stack" / "kubernetes"
# What is applied as a whole, and the job that is applied once, beside the first.
OVERLAYS = ("small", "production")
ONCE = "databases"
COMPONENT = "app.kubernetes.io/component"
Resource = dict[str, Any]


def find_kustomize() -> list[str] | None:
    """The command that renders a folder, from the PATH."""
    if found := shutil.which("kustomize"):
        return [found, "build"]
    return [found, "kustomize"] if (found := shutil.which("kubectl")) else None


@cache
def _render(folder: str) -> tuple[Resource, ...] | None:
    command = find_kustomize()
    if command is None:
        return None
    done = subprocess.run([*command, str(KUBERNETES / folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.load_all(done.stdout, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def render(folder: str) -> tuple[Resource, ...]:
    """Every resource of an overlay. Skips the test where there is no kustomize."""
    found = _render(folder)
    if found is None:
        pytest.skip("neither kubectl (1.27 or newer) nor kustomize (5 or newer) on the PATH")
    return found


def find(resources: tuple[Resource, ...], kind: str, name: str | None = None) -> list[Resource]:
    """The resources of a kind, or the one of a name."""
    return [
        resource
        for resource in resources
        if resource["kind"] == kind and name in (None, resource["metadata"]["name"])
    ]


def read_training_job() -> dict[str, Any]:
    """The base job template of the work pool `closedloop-training`."""
    found: dict[str, Any] = json.loads(
        (KUBERNETES / "base" / "training-job.json").read_text(encoding="utf-8")
    )
    return found


def fill_training_job() -> Resource:
    """The Job of a training whose deployment sets nothing: every variable has its default."""
    template = read_training_job()
    defaults = {
        name: variable["default"] for name, variable in template["variables"]["properties"].items()
    }

    def fill(content: Any) -> Any:
        if isinstance(content, dict):
            return {key: fill(value) for key, value in content.items()}
        if isinstance(content, list):
            return [fill(value) for value in content]
        if isinstance(content, str) and (found := re.fullmatch(r"\{\{ (\w+) \}\}", content)):
            return defaults[found[1]]
        if isinstance(content, str):
            return re.sub(r"\{\{ (\w+) \}\}", lambda found: str(defaults[found[1]]), content)
        return content

    job: Resource = fill(template["job_configuration"]["job_manifest"])
    # Prefect demands both at a place where Kubernetes does not know them.
    for misplaced in ("parallelism", "completions"):
        assert job["spec"]["template"]["spec"].pop(misplaced) == 1
    return job


@dataclass(frozen=True)
class Pod:
    """What a Deployment or a Job starts."""

    name: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def component(self) -> str:
        return self.labels[COMPONENT]

    @property
    def containers(self) -> list[dict[str, Any]]:
        """Those that run, after those that only prepare."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def volumes(self) -> dict[str, dict[str, Any]]:
        return {volume["name"]: volume for volume in self.spec.get("volumes", [])}

    def container(self, name: str) -> dict[str, Any]:
        (found,) = [container for container in self.containers if container["name"] == name]
        return found


def pods(resources: tuple[Resource, ...]) -> list[Pod]:
    """Every pod of an overlay; the pod of a training, too."""
    found = [
        (resource["metadata"]["name"], resource["spec"]["template"])
        for resource in resources
        if resource["kind"] in ("Deployment", "Job")
    ]
    if find(resources, "Deployment"):
        found.append(("training", fill_training_job()["spec"]["template"]))
    return [Pod(name, pod["metadata"]["labels"], pod["spec"]) for name, pod in found]


def containers(folder: str) -> list[tuple[Pod, dict[str, Any]]]:
    """Every container of an overlay with its pod, those that only prepare included."""
    return [(pod, container) for pod in pods(render(folder)) for container in pod.containers]


def environment(container: dict[str, Any], resources: tuple[Resource, ...]) -> dict[str, Any]:
    """The variables of a container: their text, or where it comes from. Optional Secrets, which
    people fill, are left out."""
    found: dict[str, Any] = {}
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            # The job that is applied once reads the ConfigMaps of an overlay.
            known = [*resources, *render(OVERLAYS[0])]
            config = find(tuple(known), "ConfigMap", source["configMapRef"]["name"])[0]
            found |= config["data"]
        else:
            assert source["secretRef"]["optional"]
    for variable in container.get("env", []):
        found[variable["name"]] = variable.get("value", variable.get("valueFrom"))
    return found


def secret_keys(pod: Pod) -> Iterator[tuple[str, str]]:
    """(Secret, key) of each secret that a pod must have to start."""
    for container in pod.containers:
        for variable in container.get("env", []):
            if asked := variable.get("valueFrom", {}).get("secretKeyRef"):
                yield asked["name"], asked["key"]


def is_selected(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector matches; of expressions, `In` is all that the manifests use."""
    assert all(asked["operator"] == "In" for asked in selector.get("matchExpressions", []))
    return all(
        labels.get(name) == value for name, value in selector.get("matchLabels", {}).items()
    ) and all(
        labels.get(asked["key"]) in asked["values"]
        for asked in selector.get("matchExpressions", [])
    )


def may_ask(resources: tuple[Resource, ...], asker: Pod, asked: Pod, port: int) -> bool:
    """Whether the network policies let one pod of the namespace open a port of another."""

    def passes(pod: Pod, other: Pod, kind: str, direction: str, side: str) -> bool:
        for policy in find(resources, "NetworkPolicy"):
            spec = policy["spec"]
            if kind not in spec["policyTypes"] or not is_selected(spec["podSelector"], pod.labels):
                continue
            for rule in spec.get(direction, []):
                others = rule.get(side, [{"podSelector": {}}])
                if port in [allowed["port"] for allowed in rule["ports"]] and any(
                    "namespaceSelector" not in peer
                    and is_selected(peer["podSelector"], other.labels)
                    for peer in others
                ):
                    return True
        return False

    return passes(asker, asked, "Egress", "egress", "to") and passes(
        asked, asker, "Ingress", "ingress", "from"
    )
