"""How the pods of stack/kubernetes reach each other, and how many of the API there are."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
import yaml

from api.guard.limits import OPEN_PATHS
from tests.house.manifests import (
    KUBERNETES,
    OVERLAYS,
    Pod,
    environment,
    find,
    is_selected,
    may_ask,
    pods,
    render,
)

each_overlay = pytest.mark.parametrize("folder", OVERLAYS)
# Who asks whom for what: a change here is a change of who is let in.
ASKS = {
    ("api", "mlflow"),
    ("page", "api"),
    ("page", "mlflow"),
    ("page", "prefect-server"),
    ("worker", "api"),
    ("worker", "mlflow"),
    ("worker", "prefect-server"),
    ("training-worker", "prefect-server"),
    ("training", "mlflow"),
    ("training", "prefect-server"),
}
# Ports of what is outside, and who may open one anywhere.
OUTSIDE = {
    5432: {"api", "page", "mlflow", "prefect-server", "worker", "training"},
    443: {"mlflow", "page", "worker", "training-worker"},
    6443: {"training-worker"},
}


def _ports(pod: Pod) -> dict[str, int]:
    return {
        port["name"]: port["containerPort"]
        for container in pod.spec["containers"]
        for port in container.get("ports", [])
    }


@each_overlay
def test_every_selector_finds_its_pods(folder: str) -> None:
    """Each Deployment, Service, budget and monitor selects the pods of one component, whose port a
    Service leads to under the same number; no policy is about nobody."""
    resources = render(folder)
    for deployment in find(resources, "Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert is_selected(deployment["spec"]["selector"], labels)
    for service in find(resources, "Service"):
        name = service["metadata"]["name"]
        (pod,) = [
            pod
            for pod in pods(resources)
            if is_selected({"matchLabels": service["spec"]["selector"]}, pod.labels)
        ]
        assert pod.name == name
        assert {port["port"] for port in service["spec"]["ports"]} == {
            _ports(pod)[port["targetPort"]] for port in service["spec"]["ports"]
        }
    for kind in ("PodDisruptionBudget", "PodMonitor"):
        for found in find(resources, kind):
            selected = [
                pod for pod in pods(resources) if is_selected(found["spec"]["selector"], pod.labels)
            ]
            assert [pod.name for pod in selected] == ["api"]
    components = {pod.component for pod in pods(resources)} | {"databases"}
    for policy in find(resources, "NetworkPolicy"):
        for asked in policy["spec"]["podSelector"].get("matchExpressions", []):
            assert set(asked["values"]) <= components


@each_overlay
def test_nobody_asks_anybody_else(folder: str) -> None:
    """First nothing is let through, in either direction. Then each pod may ask those of the table
    above at their port, and no other."""
    resources = render(folder)
    assert {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    } in [policy["spec"] for policy in find(resources, "NetworkPolicy")]
    found = {
        (asker.name, asked.name)
        for asker, asked in itertools.permutations(pods(resources), 2)
        for port in _ports(asked).values()
        if may_ask(resources, asker, asked, port)
    }
    assert found == ASKS


@each_overlay
def test_few_ports_lead_out_of_the_cluster(folder: str) -> None:
    """PostgreSQL, HTTPS and the cluster's own API, each for those who need it."""
    resources = render(folder)
    found: dict[int, set[str]] = {}
    for policy in find(resources, "NetworkPolicy"):
        for rule in policy["spec"].get("egress", []):
            if "to" in rule:
                continue
            for pod in pods(resources):
                if is_selected(policy["spec"]["podSelector"], pod.labels):
                    for port in rule["ports"]:
                        found.setdefault(port["port"], set()).add(pod.name)
    assert found == OUTSIDE


@each_overlay
def test_from_outside_only_the_api_and_the_page_are_asked(folder: str) -> None:
    """Namespaces with the label may ask these two; MLflow and Prefect are reached by forwarding a
    port."""
    open_to_others = {
        policy["metadata"]["name"]
        for policy in find(render(folder), "NetworkPolicy")
        for rule in policy["spec"].get("ingress", [])
        for peer in rule["from"]
        if "namespaceSelector" in peer
    }
    assert open_to_others == {"api", "page"}


@each_overlay
def test_every_address_leads_to_a_service(folder: str) -> None:
    """A variable that names a part by its address names a Service and its port."""
    resources = render(folder)
    known = {
        (service["metadata"]["name"], port["port"])
        for service in find(resources, "Service")
        for port in service["spec"]["ports"]
    }
    found = {
        (host, int(port))
        for pod in pods(resources)
        for container in pod.containers
        for text in environment(container, resources).values()
        if isinstance(text, str)
        for host, port in re.findall(r"http://([a-z-]+):(\d+)", text)
        if host != "localhost"
    }
    assert found
    assert found <= known


@each_overlay
def test_a_rollout_keeps_the_api_answering(folder: str) -> None:
    """A new pod is ready, which is asked where the API says so without a key, before an old one
    ends; a stopped one first leaves its Service and answers what it has begun."""
    (api,) = find(render(folder), "Deployment", "api")
    spec = api["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert api["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("readiness", "liveness")} <= (
        OPEN_PATHS
    )
    leaving = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    # CLOSEDLOOP_REQUEST_SECONDS and the two seconds that .env.example asks for.
    assert spec["terminationGracePeriodSeconds"] >= leaving + 30 + 2


def test_pods_of_the_api_follow_its_requests() -> None:
    """The autoscaler has the number of pods to itself, and asks for the metric that the rule of the
    adapter makes; tests/api/test_monitored_metrics.py shows that the rule's own metric exists."""
    resources = render("production")
    (scaler,) = find(resources, "HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]
    (api,) = find(resources, target["kind"], target["name"])
    assert "replicas" not in api["spec"]
    rules: Any = yaml.safe_load(
        (KUBERNETES / "production" / "prometheus-adapter.yaml").read_text(encoding="utf-8")
    )
    (rule,) = rules["rules"]["custom"]
    (metric,) = scaler["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    (monitor,) = find(resources, "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert (endpoint["path"], endpoint["port"]) == ("/metrics", "http")
    assert endpoint["authorization"]["credentials"] == {
        "name": "closedloop",
        "key": "STACK_API_KEY",
    }


def test_the_worker_that_makes_jobs_may_do_nothing_else() -> None:
    """No secret, no right on everything, and pods it may only look at."""
    for folder in OVERLAYS:
        (role,) = find(render(folder), "Role")
        assert {name: rule["verbs"] for rule in role["rules"] for name in rule["resources"]} == {
            "jobs": ["create", "delete", "get", "list", "watch"],
            "pods": ["get", "list", "watch"],
            "pods/log": ["get"],
        }
        assert not find(render(folder), "ClusterRole")
