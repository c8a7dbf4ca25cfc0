"""What docker-compose.yml promises for every service: order, limits, few rights, closed ports."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.house.tree import ROOT

FILE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
# No tool that could ask is sure to be in its image, so s3-init asks from outside.
ASKED_FROM_OUTSIDE = {"s3"}
# One right, for one command, without a network.
MAY_CHOWN = {"s3-volume"}
IMAGES_OF_OURS = ("closedloop/loop", "closedloop/api")


def is_job(name: str) -> bool:
    """Whether a service runs once and ends."""
    return str(SERVICES[name]["restart"]).startswith("on-failure")


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined(name: str) -> None:
    """A read-only root file system, no capability, no way to new privileges, limits of memory,
    processors and processes, and logs that end."""
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (
        True,
        ["ALL"],
        ["no-new-privileges:true"],
    )
    assert service.get("cap_add", []) == (["CHOWN"] if name in MAY_CHOWN else [])
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["cpus"] in (1, "${STACK_CPUS:-2}")
    assert 0 < service["pids_limit"] <= 4096
    assert service["logging"]["options"]["max-size"]
    assert "privileged" not in service
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_runs_as_root(name: str) -> None:
    """Its image's own user is not root, or the file names another; the one exception has no
    network."""
    service = SERVICES[name]
    if name in MAY_CHOWN:
        assert (service["user"], service["network_mode"]) == ("0", "none")
    elif any(image in service["image"] for image in IMAGES_OF_OURS):
        stages = DOCKERFILE.split("\nFROM base AS ")[1:]
        assert all("\nUSER closedloop\n" in stage for stage in stages)
        assert "user" not in service
    elif name not in ("prometheus", "grafana"):  # their images name users of their own
        assert service["user"] not in ("0", "root")


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_one_image(name: str) -> None:
    """A tag may be another image tomorrow: a public one has its digest, too. Ours are built
    here."""
    assert _is_pinned(image := _defaults(SERVICES[name]["image"])), image


def test_our_images_are_built_on_one_image() -> None:
    """The Dockerfile and docker-compose.yml name the same Python, by its digest."""
    (first,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, flags=re.MULTILINE)
    assert _is_pinned(first)
    assert {
        _defaults(service["build"]["args"]["PYTHON_IMAGE"])
        for service in SERVICES.values()
        if "build" in service
    } == {first}
    others = re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)
    assert set(others) == {"${PYTHON_IMAGE}", "build", "base"}


def _defaults(text: str) -> str:
    return re.sub(r"\$\{[A-Z0-9_]+:-([^}]*)\}", r"\1", text)


def _is_pinned(image: str) -> bool:
    digest = r":v?\d+\.\d[\w.-]*@sha256:[0-9a-f]{64}"
    return bool(re.fullmatch(rf"[a-z0-9/.-]+{digest}|closedloop/[a-z]+:\d[\w.]*", image))


@pytest.mark.parametrize("name", SERVICES)
def test_a_part_that_others_wait_for_can_be_asked(name: str) -> None:
    """Each service that goes on running says how it is, and each job is waited for by another
    service: `up --wait` fails for one that nothing depends on."""
    if is_job(name):
        waiting = [
            other
            for other in SERVICES.values()
            if SERVICES[name] and name in other.get("depends_on", {})
        ]
        assert waiting
        assert {other["depends_on"][name]["condition"] for other in waiting} == {
            "service_completed_successfully"
        }
    elif name not in ASKED_FROM_OUTSIDE:
        assert SERVICES[name]["healthcheck"]["test"]
        conditions = {
            other["depends_on"][name]["condition"]
            for other in SERVICES.values()
            if name in other.get("depends_on", {})
        }
        assert conditions <= {"service_healthy"}


def test_ports_are_published_on_this_machine_only() -> None:
    """By default every published port is bound to loopback. The stores and Prometheus, which has no
    login, publish none and stand in networks without a way out."""
    for name, service in SERVICES.items():
        assert all(
            str(port).startswith("${CLOSEDLOOP_BIND:-127.0.0.1}:")
            for port in service.get("ports", [])
        ), name
    for closed in ("postgres", "s3", "prometheus"):
        assert not SERVICES[closed].get("ports")
        assert [FILE["networks"][name] for name in SERVICES[closed]["networks"]] == [
            {"internal": True}
        ]


def test_every_folder_that_is_kept_is_a_volume() -> None:
    """Named volumes, all of them used, and no folder of the tree that a container may write to."""
    used = {
        str(volume).split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
    }
    named = {source for source in used if re.fullmatch(r"[a-z0-9]+", source)} | {
        match[1] for source in used if (match := re.search(r":-([a-z]+)$", source))
    }
    assert set(FILE["volumes"]) - {"windows"} <= named
    for service in SERVICES.values():
        assert all(
            str(volume).endswith(":ro")
            for volume in service.get("volumes", [])
            if str(volume).startswith(".")
        )


def test_the_locks_of_the_images_are_parts_of_the_lock() -> None:
    """What an image installs is what was tested: every pin of stack/*.lock stands in
    requirements.lock."""
    tested = _pins(ROOT / "requirements.lock")
    for name in ("loop", "api"):
        assert _pins(ROOT / "stack" / f"{name}.lock") <= tested, f"stack/{name}.lock: run make lock"


def _pins(path: Path) -> set[str]:
    return set(
        re.findall(
            r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?(==[^ ;\\]+)",
            path.read_text(encoding="utf-8"),
            flags=re.MULTILINE,
        )
    )


def test_the_image_of_the_api_holds_what_answers_and_no_more() -> None:
    """Neither MLflow, Prefect nor Evidently are in the image that faces clients, nor what only
    developers use."""
    names = {name.lower() for name, _ in _pins(ROOT / "stack" / "api.lock")}
    assert not names & {
        "mlflow",
        "mlflow-skinny",
        "prefect",
        "evidently",
        "boto3",
        "duckdb",
        "matplotlib",
        "pip",
        "setuptools",
        "pyyaml",
        "watchfiles",
        "websockets",
    }
    assert {
        "fastapi",
        "uvicorn",
        "uvloop",
        "httptools",
        "onnxruntime",
        "psycopg",
        "scikit-learn",
    } <= names
