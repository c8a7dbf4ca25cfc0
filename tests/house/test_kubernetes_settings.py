"""What programs in the pods of stack/kubernetes are told: commands, variables, folders, secrets.

All of it as in docker-compose.yml, which runs the same images.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from closedloop.settings import Settings
from tests.house.manifests import (
    ONCE,
    OVERLAYS,
    Pod,
    containers,
    environment,
    find,
    pods,
    render,
    secret_keys,
)
from tests.house.tree import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
# What compose calls otherwise, or what only one of them has.
SERVICE_OF = {"worker": "prefect-worker"}
# Programs that we did not write read these; docker-compose.yml has no need of them.
OF_PROGRAMS = {
    "HOME",
    "PGPORT",
    "PGSSLMODE",
    "OMP_NUM_THREADS",
    # Of Prefect's worker for Kubernetes; tests/flows/test_training_job.py shows what the first do.
    "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_NAME",
    "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_KEY",
    "PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES",
    # Of the command of the container `deploy`.
    "TRAINING_IMAGE",
    "NAMESPACE",
}
each_folder = pytest.mark.parametrize("folder", [*OVERLAYS, ONCE])
each_overlay = pytest.mark.parametrize("folder", OVERLAYS)


@each_folder
def test_the_pods_run_what_compose_runs(folder: str) -> None:
    """Each container has the command of its service in docker-compose.yml, and is asked how it is
    where that is asked: at the same port and path."""
    for pod in pods(render(folder)):
        if pod.name in ("training", "training-worker"):
            continue
        (container,) = pod.spec["containers"]
        service = SERVICES[SERVICE_OF.get(pod.name, pod.name)]
        words = [re.sub(r"\$\{\w+:-(\w+)\}", r"\1", word) for word in service["command"]]
        assert container["command"] == words
        if "healthcheck" not in service:
            continue
        _, _, port, path = service["healthcheck"]["test"]
        asked = container["livenessProbe"]["httpGet"]
        assert asked == container["startupProbe"]["httpGet"]
        assert (asked["path"], _port(container, asked["port"])) == (path, int(port))


@each_overlay
def test_what_prepares_is_what_compose_runs_before(folder: str) -> None:
    """The jobs `mlflow-tables`, `upgrade` and `deploy` of docker-compose.yml, before what waits for
    them there."""
    found = {container["name"]: container.get("command", []) for _, container in containers(folder)}
    assert found["upgrade"] == SERVICES["upgrade"]["command"]
    assert found["tables"][-1].replace('"', "") == SERVICES["mlflow-tables"]["command"][-1].replace(
        "$$", "$"
    )
    assert " ".join(SERVICES["deploy"]["command"]) in found["deploy"][-1]


def _port(container: dict[str, Any], name: str) -> int:
    return int({port["name"]: port["containerPort"] for port in container["ports"]}[name])


@each_folder
def test_every_variable_is_one_that_something_reads(folder: str) -> None:
    """Each CLOSEDLOOP_ variable is a setting or a password of docker-compose.yml, every other is
    set there, too, or listed above with who reads it."""
    of_compose = {name for service in SERVICES.values() for name in service.get("environment", {})}
    settings = {f"CLOSEDLOOP_{name}".upper() for name in Settings.model_fields}
    known = of_compose | settings | OF_PROGRAMS
    for pod, container in containers(folder):
        unknown = set(environment(container, render(folder))) - known
        assert not unknown, (pod.name, container["name"])


@each_folder
def test_settings_are_values_that_the_program_takes(folder: str) -> None:
    """The settings of each container can be read as the program reads them."""
    for _, container in containers(folder):
        known = environment(container, render(folder))
        Settings.read({name: text for name, text in known.items() if isinstance(text, str)})


@each_folder
def test_every_folder_that_is_mounted_is_used(folder: str) -> None:
    """A mount is named by a variable or by the command, and each path of a variable is mounted.
    What can be written is a volume of its own."""
    for pod, container in containers(folder):
        texts = [
            text
            for text in environment(container, render(folder)).values()
            if isinstance(text, str)
        ]
        mounts = {mount["mountPath"]: mount for mount in container.get("volumeMounts", [])}
        said = " ".join([*texts, *container.get("command", [])])
        for path in mounts:
            assert path == "/tmp" or re.search(rf"{path}(?![\w-])", said), (pod.name, path)
        for path in map(Path, texts):
            if path.is_absolute() and mounts and str(path) not in _unused_by(pod):
                assert any(path.is_relative_to(mounted) for mounted in mounts), (pod.name, path)
        for mount in mounts.values():
            volume = pod.volumes[mount["name"]]
            assert mount.get("readOnly") or {"emptyDir", "persistentVolumeClaim"} & set(volume)
        assert {mount["name"] for mount in mounts.values()} <= set(pod.volumes)


def _unused_by(pod: Pod) -> tuple[str, ...]:
    # All read the same ConfigMap; the API answers without the windows.
    return ("/windows",) if pod.name == "api" else ()


def test_every_secret_is_documented_and_made() -> None:
    """docs/kubernetes.md names each key of each Secret that a pod needs, and no other; those of the
    Secret `closedloop` are made by stack/make-env.sh."""
    needed = {
        asked
        for folder in (*OVERLAYS, ONCE)
        for pod in pods(render(folder))
        for asked in secret_keys(pod)
    }
    text = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    listed = {
        (secret, key)
        for secret, keys in re.findall(r"^\| `([a-z-]+)` \| ([^|]+) \|", text, re.MULTILINE)
        for key in re.findall(r"`([A-Z][A-Z0-9_]+)`", keys)
    }
    assert listed == needed
    made = (ROOT / "stack" / "make-env.sh").read_text(encoding="utf-8")
    for secret, key in needed:
        assert secret == "postgres-admin" or re.search(rf"\b{key}\b", made), key


def test_nothing_secret_is_in_the_manifests() -> None:
    """No Secret is made by them, and a password comes from one, by its key."""
    named = r"PASSWORD|AWS_SECRET_ACCESS_KEY|_API_KEY$|FLASK_SERVER_SECRET_KEY|API_AUTH_STRING$"
    for folder in (*OVERLAYS, ONCE):
        assert not find(render(folder), "Secret")
        for _, container in containers(folder):
            for name, text in environment(container, render(folder)).items():
                if re.search(named, name):
                    assert set(text) == {"secretKeyRef"}, name
