"""The alerts, the dashboard and the autoscaler of stack/ ask for metrics that the service has."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.house.observability import (
    OF_A_TARGET,
    OF_PROMETHEUS,
    Expression,
    alert_expressions,
    autoscaling_expression,
    panel_expressions,
)

Service = Any  # tests/api/conftest.py
ROW: dict[str, Any] = {"monthly spend": 20.5, "visits": 3, "plan": "gold", "returning": True}
EXPRESSIONS = [*alert_expressions(), *panel_expressions(), autoscaling_expression()]
INFER = {"/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"}
PREDICTING = {"/predict", "/invocations", *INFER}
MONITORING = {
    "/health",
    "/ready",
    "/ping",
    "/metrics",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/{name}/ready",
    "/v2/models/{name}/versions/{version}/ready",
}


@pytest.fixture
def said(service: Service) -> str:
    """What /metrics says once every kind of request has been asked."""
    client = service.client
    id = service.predict()["predictions"][0]["id"]
    client.post("/labels", json={"labels": [{"id": id, "label": "True"}]})
    client.post("/invocations", json={"dataframe_records": [ROW]})
    for path in ("/v2/models/shop", "/v2/models/shop/versions/1"):
        client.post(f"{path}/infer", json={"inputs": []})
        client.get(f"{path}/ready")
    for path in (
        "/health",
        "/ready",
        "/ping",
        "/metrics",
        "/v2/health/live",
        "/v2/health/ready",
        "/model",
        "/docs",
    ):
        client.get(path)
    text: str = client.get("/metrics").text
    return text


@pytest.fixture
def labels_of(said: str) -> dict[str, set[str]]:
    """The labels of each series that Prometheus could ask for, those that Prometheus adds among
    them."""
    found = {name: labels | OF_A_TARGET for name, labels in OF_PROMETHEUS.items()}
    for family in text_string_to_metric_families(said):
        for sample in family.samples:
            found.setdefault(sample.name, set(OF_A_TARGET)).update(sample.labels)
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda expression: expression.where)
def test_every_metric_and_every_label_exists(
    expression: Expression, labels_of: dict[str, set[str]]
) -> None:
    """An alert or a panel on a name that the service does not have would never show anything."""
    assert expression.metrics
    assert expression.metrics <= set(labels_of)
    assert not [(name, label) for name, label in expression.matched if label not in labels_of[name]]
    known = set().union(*(labels_of[name] for name in expression.metrics))
    assert expression.grouped <= known
    # After an aggregation only the labels that it groups by are left to be shown.
    assert expression.shown <= (
        expression.grouped if re.search(r"\bsum\b", expression.text) else known
    )


def test_the_names_are_read_out_of_an_expression() -> None:
    """The reader finds what the test above relies on: names, compared labels and grouping labels,
    but no functions, texts or times."""
    text = (
        'sum by (job, le) (rate(a_total{x=~"by (z)", y!="b_total"}[5m] offset 1d)) '
        "/ on (job) group_left () c unless d offset 1h > 0.5"
    )
    read = Expression("here", text, frozenset())
    assert read.metrics == {"a_total", "c", "d"}
    assert read.matched == {("a_total", "x"), ("a_total", "y")}
    assert read.grouped == {"job", "le"}


@pytest.mark.parametrize(
    ("alert", "is_meant"),
    [
        ("ClosedloopSlow", lambda route: route in PREDICTING),
        ("ClosedloopErrors", lambda route: route not in MONITORING),
    ],
)
def test_an_alert_is_about_the_routes_that_it_means(
    alert: str, is_meant: Callable[[str], bool], said: str
) -> None:
    """How fast predictions are is asked of every route that predicts and of no other; errors of
    health checks are not counted."""
    (expression,) = [expression for expression in alert_expressions() if expression.where == alert]
    ways = set(re.findall(r'route(=~|!~)"([^"]*)"', expression.text))
    routes = set(re.findall(r'closedloop_requests_total\{route="([^"]*)"', said))
    assert routes >= PREDICTING | MONITORING
    assert len(ways) == 1
    for is_in, pattern in ways:
        taken = {
            route
            for route in routes
            if (re.fullmatch(pattern, route) is not None) is (is_in == "=~")
        }
        assert taken == {route for route in routes if is_meant(route)}
