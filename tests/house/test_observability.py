"""The profile `observability`: its files fit together, and promtool plays the alerts as meant.

That every metric exists: tests/api/test_monitored_metrics.py.
"""

from __future__ import annotations

import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.house.observability import (
    DASHBOARDS,
    PROMETHEUS,
    PROVISIONING,
    alert_expressions,
    find_promtool,
    panel_expressions,
    read_dashboard,
    read_rules,
)
from tests.house.tree import ROOT

STACK: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))[
    "services"
]
PLAYS = sorted((ROOT / "tests" / "house").glob("alerts_in_*.yml"))
OPERATE = ROOT / "docs" / "operate.md"
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _mounted(service: str, inside: str) -> Path:
    """The folder of the tree that a service sees as `inside`, which it may only read."""
    for volume in STACK[service]["volumes"]:
        outside, _, rest = volume.partition(":")
        if rest == f"{inside}:ro":
            return (ROOT / outside).resolve()
    raise AssertionError(f"{service} mounts nothing read-only at {inside}")


def _span(text: str) -> timedelta:
    return sum(
        (
            timedelta(**{UNITS[unit]: int(number)})
            for number, unit in re.findall(r"(\d+)([smhdw])", text)
        ),
        timedelta(),
    )


def _promtool(folder: Path, *arguments: str) -> str:
    """What promtool says about files of `folder`. Fails when it finds something wrong, skips where
    it is not to be had."""
    command = find_promtool(folder)
    if isinstance(command, str):
        pytest.skip(command)
    done = subprocess.run(
        [*command, *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_its_configuration_and_its_rules(tmp_path: Path) -> None:
    """promtool reads closedloop.yml with a key where it looks for one, follows it to alerts.yml,
    and counts every rule."""
    (tmp_path / "api_key").write_text("a key", encoding="utf-8")
    content = (PROMETHEUS / "closedloop.yml").read_text(encoding="utf-8")
    mounted = "/run/secrets/STACK_API_KEY"
    assert f"credentials_file: {mounted}" in content
    (tmp_path / "closedloop.yml").write_text(
        content.replace(mounted, str(tmp_path / "api_key")), encoding="utf-8"
    )
    (tmp_path / "alerts.yml").write_bytes((PROMETHEUS / "alerts.yml").read_bytes())
    assert f"{len(read_rules())} rules found" in _promtool(
        tmp_path, "check", "config", "closedloop.yml"
    )


def test_prometheus_takes_every_query_of_the_dashboard(tmp_path: Path) -> None:
    """Each query of a panel, a variable and an annotation is PromQL that could be recorded under a
    name."""
    recorded = [
        {"record": f"query:{number}", "expr": expression.text}
        for number, expression in enumerate(panel_expressions())
    ]
    (tmp_path / "queries.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}), encoding="utf-8"
    )
    assert f"{len(recorded)} rules found" in _promtool(tmp_path, "check", "rules", "queries.yml")


@pytest.mark.parametrize("play", PLAYS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(play: Path, tmp_path: Path) -> None:
    """promtool plays series through the rules and finds the alerts, with their summaries, that the
    file says, at the times it says."""
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text(encoding="utf-8"))
    for rule in (rule for group in groups["groups"] for rule in group["rules"]):
        del rule["annotations"]["description"]
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(groups), encoding="utf-8")
    (tmp_path / play.name).write_bytes(play.read_bytes())
    assert "SUCCESS" in _promtool(tmp_path, "test", "rules", play.name)


def test_every_alert_is_played_firing_and_silent() -> None:
    """For each alert there is a moment at which it must fire, and one at which it must not."""
    cases = [
        case
        for play in PLAYS
        for test in yaml.safe_load(play.read_text(encoding="utf-8"))["tests"]
        for case in test["alert_rule_test"]
    ]
    names = {rule["alert"] for rule in read_rules()}
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == names
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == names


@pytest.mark.parametrize("rule", read_rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_what_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    """Severity, a summary that names what it is about, and a description in whole sentences without
    values, which a play leaves out."""
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description"}
    assert "{{ $labels." in rule["annotations"]["summary"]
    assert "{{" not in rule["annotations"]["description"]
    assert rule["annotations"]["description"].endswith(".")


def test_the_documentation_lists_every_alert() -> None:
    """The table of docs/operate.md has each alert with its severity, and none that is gone."""
    listed = dict(
        re.findall(
            r"^\| `(Closedloop\w+)` \| (\w+) \|",
            OPERATE.read_text(encoding="utf-8"),
            flags=re.MULTILINE,
        )
    )
    assert listed == {rule["alert"]: rule["labels"]["severity"] for rule in read_rules()}


def test_prometheus_keeps_what_an_alert_looks_back_at() -> None:
    """The longest range plus offset of a rule is within the retention that the stack starts
    Prometheus with."""
    command = " ".join(STACK["prometheus"]["command"])
    kept = re.findall(r"--storage\.tsdb\.retention\.time=(\w+)", command)
    spans = [
        _span(each[0]) + _span(each[1])
        for expression in alert_expressions()
        for each in re.findall(r"\[(\w+)\](?: offset (\w+))?", expression.text)
    ]
    assert timedelta(days=90) < max(spans) < _span(kept[0])


def test_prometheus_is_started_with_what_its_configuration_names() -> None:
    """The key is mounted where closedloop.yml reads it, and the command starts with that file; its
    target is the service of the stack."""
    configuration = yaml.safe_load((PROMETHEUS / "closedloop.yml").read_text(encoding="utf-8"))
    api, itself = configuration["scrape_configs"]
    assert _mounted("prometheus", "/etc/prometheus") == PROMETHEUS
    assert "--config.file=/etc/prometheus/closedloop.yml" in STACK["prometheus"]["command"]
    (key,) = STACK["prometheus"]["secrets"]
    assert api["authorization"]["credentials_file"] == f"/run/secrets/{key}"
    assert api["static_configs"] == [{"targets": ["api:8080"]}]
    assert STACK["api"]["ports"][0].endswith(":8080")
    assert itself["static_configs"] == [{"targets": ["localhost:9090"]}]
    assert [(PROMETHEUS / name).is_file() for name in configuration["rule_files"]] == [True]


def test_grafana_finds_its_dashboard_and_its_source() -> None:
    """What is provisioned points at folders and services that the stack has, and the first page is
    the dashboard."""
    (provider,) = yaml.safe_load(
        (PROVISIONING / "dashboards" / "closedloop.yml").read_text(encoding="utf-8")
    )["providers"]
    (source,) = yaml.safe_load(
        (PROVISIONING / "datasources" / "prometheus.yml").read_text(encoding="utf-8")
    )["datasources"]
    assert _mounted("grafana", "/etc/grafana/provisioning") == PROVISIONING
    assert _mounted("grafana", provider["options"]["path"]) == DASHBOARDS
    home = STACK["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/closedloop.json"
    assert (DASHBOARDS / "closedloop.json").is_file()
    assert source["url"] == "http://prometheus:9090"
    assert (
        set(STACK["grafana"]["networks"])
        & set(STACK["prometheus"]["networks"])
        & set(STACK["api"]["networks"])
    )


def test_a_panel_has_an_id_of_its_own_and_asks_the_provisioned_source() -> None:
    """Ids are unique, every panel, query, variable and annotation names the source by its uid, and
    the dashboard keeps its address."""
    (source,) = yaml.safe_load(
        (PROVISIONING / "datasources" / "prometheus.yml").read_text(encoding="utf-8")
    )["datasources"]
    dashboard = read_dashboard()
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    assert dashboard["uid"] == "closedloop"
    asked = [
        *panels,
        *(query for panel in panels for query in panel["targets"]),
        *dashboard["templating"]["list"],
        *dashboard["annotations"]["list"],
    ]
    wanted = {"type": source["type"], "uid": source["uid"]}
    assert all(part["datasource"] == wanted for part in asked)


def test_no_panel_lies_on_another() -> None:
    """Panels fit into the 24 columns of a page, and no two share a place."""
    taken: dict[tuple[int, int], str] = {}
    for panel in read_dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for spot in (
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ):
            assert taken.setdefault(spot, panel["title"]) == panel["title"], (
                f"{panel['title']} lies on {taken[spot]}"
            )


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_what_watches_is_hardened_and_only_reads(name: str) -> None:
    """Neither has capabilities or a root that can be written to, and of the tree it mounts nothing
    that it could change."""
    service = STACK[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert all(volume.endswith(":ro") for volume in service["volumes"] if volume.startswith("."))
    assert service["profiles"] == ["observability"]
