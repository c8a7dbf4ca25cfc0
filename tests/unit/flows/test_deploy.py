"""Which use cases are deployed, and what is deployed of each, without a server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from closedloop.errors import ClosedLoopError
from closedloop.settings import Settings
from closedloop.use_case.alerts import Alerts
from closedloop.use_case.contract import UseCase
from closedloop.use_case.housekeeping import Housekeeping
from closedloop.use_case.loop_toml import load_use_case

REPOSITORY = Path(__file__).parents[3]
STREAMFLOW, IRIS = (REPOSITORY / "data" / name for name in ("streamflow", "iris"))


@pytest.fixture
def deploy() -> Any:
    """The module, imported here because Prefect reads its settings when it is imported."""
    from flows.deployment import deploy

    return deploy


def test_a_team_and_a_single_process_run_the_same_on_the_schedule() -> None:
    """prefect.yaml and scheduled_flows.py deploy the same flows, schedules and run limits."""
    from flows.deployment.scheduled_flows import plan_deployments

    listed = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text(encoding="utf-8"))
    team = {
        deployment["entrypoint"]: (
            [schedule["slug"] for schedule in deployment.get("schedules", [])],
            deployment.get("concurrency_limit"),
            sorted(deployment["parameters"]),
        )
        for deployment in listed["deployments"]
    }
    alone = {
        deployment.entrypoint: (
            [schedule.slug for schedule in deployment.schedules or []],
            {
                "limit": deployment.concurrency_limit,
                "collision_strategy": deployment.concurrency_options.collision_strategy.value,
            }
            if deployment.concurrency_limit
            else None,
            sorted(deployment.parameters),
        )
        for deployment in plan_deployments(_with_everything(), "0 6 * * *")
    }
    assert alone == team
    assert [name for name, (slugs, *_) in team.items() if slugs] == [
        "flows.monitor_flow.monitor_flow",
        "flows.alert_flow.alert_flow",
        "flows.housekeeping_flow.housekeeping_flow",
    ]


def _with_everything() -> UseCase:
    """A use case that tells people and keeps house."""
    return replace(
        load_use_case(STREAMFLOW),
        alerts=Alerts(channels=("webhook",)),
        housekeeping=Housekeeping(cron="30 3 * * 0"),
    )


def test_only_what_loop_toml_asks_for_is_on_a_schedule() -> None:
    """Without channels nobody looks for alerts, and without a cron line nothing is pruned by
    itself."""
    from flows.deployment.scheduled_flows import plan_deployments

    scheduled = [
        deployment.entrypoint
        for deployment in plan_deployments(load_use_case(STREAMFLOW), "0 6 * * *")
        if deployment.schedules
    ]
    assert scheduled == ["flows.monitor_flow.monitor_flow"]


def test_the_schedule_can_look_at_the_records() -> None:
    """[schedule] source = "records" is what the scheduled run is told; no other flow is."""
    from flows.deployment.scheduled_flows import plan_deployments

    use_case = load_use_case(STREAMFLOW)
    told = [
        [
            deployment.parameters.get("source")
            for deployment in plan_deployments(chosen, "0 6 * * *")
        ]
        for chosen in (
            use_case,
            replace(use_case, schedule=replace(use_case.schedule, source="records")),
        )
    ]
    assert told == [["windows"] + [None] * 7, ["records"] + [None] * 7]


@pytest.mark.slow
def test_without_a_server_it_says_so(deploy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No address, and an address where nobody answers, are each one sentence with what to do."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pytest.raises(
        ClosedLoopError,
        match="PREFECT_API_URL: wanted the address of a Prefect server, got nothing",
    ):
        deploy.deploy_everything(Settings(use_case=IRIS))
    from prefect.settings import PREFECT_API_URL, temporary_settings

    nobody = "http://127.0.0.1:9/api"
    monkeypatch.setenv("PREFECT_API_URL", nobody)
    with (
        temporary_settings(updates={PREFECT_API_URL: nobody}),
        pytest.raises(ClosedLoopError, match="wanted a Prefect server that answers"),
    ):
        deploy.deploy_everything(Settings(use_case=IRIS))
