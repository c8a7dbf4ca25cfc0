"""`python -m flows.deployment.deploy`: deploy every use case to a team's Prefect server.

Applies prefect.yaml; safe to repeat. Needs PREFECT_API_URL and a server that answers. Start workers
on any machine: `prefect worker start --pool closedloop`, and `--pool closedloop-training`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.workers.process import ProcessWorker

from closedloop.errors import ClosedLoopError
from closedloop.settings import Settings
from closedloop.storage.home import choose_umask, making_files
from closedloop.use_case.contract import UseCase
from closedloop.use_case.several import load_use_cases
from flows.deployment.dead_runs import dead_run_automations, install_automations
from flows.deployment.unwanted_schedules import drop_unwanted_schedules, fill_crons
from flows.prefect_client.lookup import all_ours, of_use_case
from flows.prefect_client.names import ALERTS, HOUSEKEEPING, name_deployment
from flows.prefect_client.window_choices import refresh_forms

POOLS = {
    "closedloop": "Monitoring, decisions, rollbacks: light work.",
    "closedloop-training": "Training: heavy work.",
}
PREFECT_YAML = "prefect.yaml"


def deploy_everything(settings: Settings) -> list[str]:
    """Create what is missing, update what differs; returns a line for each thing deployed.

    What a person has paused stays paused. Nothing is deleted, except (by Prefect) a schedule that a
    person added. Raises UseCaseError for a use case that cannot be read, ClosedLoopError when the
    server does not answer or refuses a deployment.
    """
    use_cases = load_use_cases(settings.named_use_cases)
    address = os.environ.get("PREFECT_API_URL", "")
    if not address:
        raise ClosedLoopError(
            where="PREFECT_API_URL",
            wanted="the address of a Prefect server",
            got="nothing",
            then="set it, for example to http://localhost:4200/api",
        )
    try:
        with get_client(sync_client=True) as client:
            lines = [f"work pool {name}: created" for name in create_missing_pools(client)]
            for use_case in use_cases:
                lines += deploy_use_case(client, use_case)
            lines += [
                f"automation {name!r}: installed"
                for name in install_automations(client, dead_run_automations())
            ]
            return lines + list_unlisted(client, {use_case.name for use_case in use_cases})
    except HTTPError as error:
        raise ClosedLoopError(
            where=address,
            wanted="a Prefect server that answers",
            got=str(error).splitlines()[0] or repr(error),
            then="start it first, and check PREFECT_API_URL and PREFECT_API_AUTH_STRING",
        ) from error


def create_missing_pools(client: SyncPrefectClient) -> list[str]:
    """Create the work pools that the server lacks; returns their names."""
    missing = sorted(set(POOLS) - {pool.name for pool in client.read_work_pools()})
    for name in missing:
        pool = WorkPoolCreate(
            name=name,
            type=ProcessWorker.type,
            description=POOLS[name],
            base_job_template=ProcessWorker.get_default_base_job_template(),
        )
        client.create_work_pool(pool)
    return missing


def deploy_use_case(client: SyncPrefectClient, use_case: UseCase) -> list[str]:
    """Apply prefect.yaml for one use case and fill its run forms; returns a line per deployment."""

    def deployments() -> list[DeploymentResponse]:
        return client.read_deployments(deployment_filter=of_use_case(use_case.name))

    paused = [deployment.id for deployment in deployments() if deployment.paused]
    run_prefect_deploy(use_case)
    drop_unwanted_schedules(client, use_case)
    for deployment_id in paused:  # `prefect deploy` resumes them
        client.pause_deployment(deployment_id)
    try:
        refresh_forms(use_case)
        problems = []
    except ClosedLoopError as error:  # the rows may arrive after the deployment
        problems = [f"{use_case.name}: its windows could not be listed: {error}"]
    flows = {
        flow.id: flow.name
        for flow in client.read_flows(deployment_filter=of_use_case(use_case.name))
    }
    return (
        sorted(_describe(flows[deployment.flow_id], deployment) for deployment in deployments())
        + problems
    )


def find_prefect_yaml() -> Path:
    """prefect.yaml beside the package `flows`, else in the working directory.

    Raises ClosedLoopError when it is in neither.
    """
    folders = (Path(__file__).resolve().parents[2], Path.cwd())
    for folder in folders:
        if (folder / PREFECT_YAML).is_file():
            return folder / PREFECT_YAML
    raise ClosedLoopError(
        where=PREFECT_YAML,
        wanted="the file that lists the deployments",
        got=f"none in {folders[0]} or {folders[1]}",
        then="run this in the folder that holds it",
    )


def run_prefect_deploy(use_case: UseCase) -> None:
    """Run `prefect deploy --all` with the variables of prefect.yaml.

    Raises ClosedLoopError when it fails.
    """
    file, crons = find_prefect_yaml(), fill_crons(use_case)
    variables = {
        "USE_CASE_NAME": use_case.name,
        "USE_CASE_PATH": str(use_case.path),
        "USE_CASE_CRON": use_case.schedule.cron,
        "USE_CASE_SOURCE": use_case.schedule.source,
        "USE_CASE_TIMEZONE": use_case.schedule.timezone,
        "USE_CASE_ALERTS_CRON": crons[ALERTS],
        "USE_CASE_HOUSEKEEPING_CRON": crons[HOUSEKEEPING],
    }
    words = ["--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
    # In the file's folder, where the modules it names can be imported.
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *words],
        cwd=file.parent,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ClosedLoopError(
            where=f"{file} for {use_case.name}",
            wanted="deployments that Prefect accepts",
            got=" ".join(f"{done.stdout}\n{done.stderr}".split())[-400:],
            then="correct the file, or run `prefect deploy --all` by hand with the same variables",
        )


def list_unlisted(client: SyncPrefectClient, listed: set[str]) -> list[str]:
    """A line for each deployment whose use case is no longer listed; it stays, schedule and all."""
    flows = {flow.id: flow.name for flow in client.read_flows(deployment_filter=all_ours())}
    names = sorted(
        name_deployment(flows[deployment.flow_id], deployment.name)
        for deployment in client.read_deployments(deployment_filter=all_ours())
        if deployment.name not in listed
    )
    return [
        f"{name}: not in CLOSEDLOOP_USE_CASES, left as it is; "
        f"to remove it: prefect deployment delete {name}"
        for name in names
    ]


def _describe(flow: str, deployment: DeploymentResponse) -> str:
    """A deployment in a line: its name, its work pool, and when it runs."""
    times = [
        f"{schedule.schedule.cron} {schedule.schedule.timezone}"
        + ("" if schedule.active else " (paused)")
        for schedule in deployment.schedules
        if isinstance(schedule.schedule, CronSchedule)
    ]
    when = ", ".join(times) or "on request"
    paused = " (paused)" if deployment.paused else ""
    name = name_deployment(flow, deployment.name)
    return f"{name}: in {deployment.work_pool_name}, {when}{paused}"


def main() -> int:
    """Deploy and print what is deployed; returns 0 or the error's exit code."""
    settings = Settings()
    try:
        with making_files(choose_umask(settings.home_folder)):
            print("\n".join(deploy_everything(settings)))
    except ClosedLoopError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
