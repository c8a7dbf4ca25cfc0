"""The alerts and the dashboard read as data, and the names in their expressions."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.house.tree import ROOT

PROMETHEUS = ROOT / "stack" / "prometheus"
PROVISIONING = ROOT / "stack" / "grafana" / "provisioning"
DASHBOARDS = ROOT / "stack" / "grafana" / "dashboards"
# What Prometheus itself adds: to each series, and series of its own.
OF_A_TARGET = {"job", "instance"}
OF_PROMETHEUS = {
    "up": set[str](),
    "ALERTS": {"alertname", "alertstate", "severity"},
    "prometheus_rule_evaluation_failures_total": {"rule_group"},
}
# What Grafana puts into an expression before it asks.
_OF_GRAFANA = {
    "$__rate_interval": "5m",
    "$__interval": "5m",
    "$instance": ".*",
    "$use_case": ".*",
    "$class": "True",
}
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_KEYWORDS = {"and", "or", "unless", "offset", "bool", "inf", "nan"}


@dataclass(frozen=True)
class Expression:
    """A PromQL expression, where it is, and the labels that its text shows."""

    where: str
    text: str
    shown: frozenset[str]

    @property
    def _without_texts(self) -> str:
        return re.sub(r'"(?:[^"\\]|\\.)*"', '""', self.text)

    @property
    def matched(self) -> set[tuple[str, str]]:
        """(metric, label) of each label that a selector compares."""
        selectors = re.findall(r"([A-Za-z_:][\w:]*)\s*\{([^}]*)\}", self._without_texts)
        return {
            (name, label)
            for name, inside in selectors
            for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside)
        }

    @property
    def grouped(self) -> set[str]:
        """The labels that the expression groups or joins by."""
        return {
            label
            for inside in _GROUPING.findall(self._without_texts)
            for label in re.findall(r"\w+", inside)
        }

    @property
    def metrics(self) -> set[str]:
        """The names of the series that are read."""
        bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\"\"", " ", _GROUPING.sub(" ", self._without_texts))
        names = re.findall(r"\b([A-Za-z_:][\w:]*)\b(?!\s*\()", bare)
        return {
            name
            for name in names
            if name not in _KEYWORDS and name not in {"by", "on", "group_left"}
        }


def read_rules() -> list[dict[str, Any]]:
    """Every rule of alerts.yml."""
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def read_dashboard() -> dict[str, Any]:
    """The dashboard as Grafana gets it."""
    found: dict[str, Any] = json.loads((DASHBOARDS / "closedloop.json").read_text(encoding="utf-8"))
    return found


def alert_expressions() -> list[Expression]:
    """One for each alert."""
    found = []
    for rule in read_rules():
        shown = re.findall(r"\$labels\.(\w+)", "".join(rule["annotations"].values()))
        found.append(Expression(rule["alert"], rule["expr"], frozenset(shown)))
    return found


def autoscaling_expression() -> Expression:
    """What the Prometheus Adapter asks for the autoscaler of the API, filled as it fills it."""
    file = ROOT / "stack" / "kubernetes" / "production" / "prometheus-adapter.yaml"
    (rule,) = yaml.safe_load(file.read_text(encoding="utf-8"))["rules"]["custom"]
    text = rule["metricsQuery"].replace("<<.Series>>", rule["seriesQuery"].partition("{")[0])
    for name, value in {"<<.LabelMatchers>>": 'job="api"', "<<.GroupBy>>": "job"}.items():
        text = text.replace(name, value)
    return Expression(rule["name"]["as"], text, frozenset())


def panel_expressions() -> list[Expression]:
    """One for each query of the dashboard: of a panel, a variable or an annotation."""
    dashboard = read_dashboard()
    found = [
        (panel["title"], query["expr"], query["legendFormat"])
        for panel in dashboard["panels"]
        for query in panel.get("targets", [])
    ]
    found += [
        (note["name"], note["target"]["expr"], note["titleFormat"] + note["textFormat"])
        for note in dashboard["annotations"]["list"]
    ]
    for variable in dashboard["templating"]["list"]:
        match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
        assert match, (
            f"{variable['name']}: wanted label_values(SERIES, LABEL), "
            f"got {variable['query']['query']!r}"
        )
        found.append((f"${variable['name']}", match[1], f"{{{{{match[2]}}}}}"))
    return [
        Expression(where, _fill(text), frozenset(re.findall(r"\{\{(\w+)\}\}", shown)))
        for where, text, shown in found
    ]


def _fill(text: str) -> str:
    for name, value in _OF_GRAFANA.items():
        text = text.replace(name, value)
    return text


def find_promtool(folder: Path) -> list[str] | str:
    """The command that runs promtool on `folder`, from the PATH or the stack's image.

    A string says why there is none.
    """
    if found := shutil.which("promtool"):
        return [found]
    stack = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    image = re.findall(r"\$\{PROMETHEUS_IMAGE:-([^}]*)\}", stack)[0]
    docker = shutil.which("docker")
    if (
        docker is None
        or subprocess.run([docker, "image", "inspect", image], capture_output=True).returncode != 0
    ):
        return f"neither promtool on the PATH nor the image {image} on this machine"
    mount = f"{folder}:{folder}:ro"
    return [
        docker,
        "run",
        "--rm",
        "--network=none",
        "--user=0",
        "--volume",
        mount,
        "--workdir",
        str(folder),
        "--entrypoint=promtool",
        image,
    ]
