"""`python -m flows.deployment.deploy`: brings a team's Prefect server to what prefect.yaml says,
for every use case; can be repeated.

Needs PREFECT_API_URL and a server that answers. Workers are started by whoever has machines for
them: `prefect worker start --pool closedloop`, and `--pool closedloop-training`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from closedloop.errors import ClosedLoopError, UseCaseError
from closedloop.settings import Settings
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import load_use_case
from flows.server.names import TAG, of_use_case

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

POOLS = {
    "closedloop": "Looking, deciding, acting: light work.",
    "closedloop-training": "Retrainings: heavy work.",
}
PREFECT_YAML = "prefect.yaml"


def deploy_everything(settings: Settings) -> list[str]:
    """Make what is missing, change what differs, and leave the rest; returns what to tell, a line
    each.

    A schedule or a deployment that a person has paused stays paused. No deployment is deleted; a
    schedule that a person added is, by Prefect. Raises UseCaseError for a use case that cannot be
    read, ClosedLoopError when the server does not answer or does not take a deployment.
    """
    from httpx import HTTPError
    from prefect.client.orchestration import get_client

    from flows.deployment.dead_runs import dead_run_automations, install_automations

    use_cases = read_use_cases(settings)
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
            said = [f"work pool {name}: made" for name in make_pools(client)]
            for use_case in use_cases:
                said += deploy(client, use_case)
            said += [
                f"automation {name!r}: written"
                for name in install_automations(client, dead_run_automations())
            ]
            return said + tell_forgotten(client, {one.name for one in use_cases})
    except HTTPError as error:
        raise ClosedLoopError(
            where=address,
            wanted="a Prefect server that answers",
            got=str(error).splitlines()[0] or repr(error),
            then="start it first, and check PREFECT_API_URL and PREFECT_API_AUTH_STRING",
        ) from error


def read_use_cases(settings: Settings) -> tuple[UseCase, ...]:
    """What CLOSEDLOOP_USE_CASES names; raises UseCaseError when two have one name: their
    deployments, models and decisions would mix."""
    found: dict[str, UseCase] = {}
    for path in settings.deployed_use_cases:
        use_case = load_use_case(path)
        if use_case.name in found:
            raise UseCaseError(
                where="CLOSEDLOOP_USE_CASES",
                wanted="use cases of different names",
                got=f"{use_case.name} in {found[use_case.name].path} and in {use_case.path}",
                then="change the name in one of them",
            )
        found[use_case.name] = use_case
    return tuple(found.values())


def make_pools(client: SyncPrefectClient) -> list[str]:
    """Make the work pools that are missing; returns their names."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.workers.process import ProcessWorker

    missing = sorted(set(POOLS) - {pool.name for pool in client.read_work_pools()})
    for name in missing:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(
            WorkPoolCreate(
                name=name,
                type=ProcessWorker.type,
                description=POOLS[name],
                base_job_template=template,
            )
        )
    return missing


def deploy(client: SyncPrefectClient, use_case: UseCase) -> list[str]:
    """Every deployment of prefect.yaml for one use case, with the choices of its windows; returns
    what to tell."""
    from flows.server.forms import refresh_forms

    def ours() -> list[DeploymentResponse]:
        return client.read_deployments(deployment_filter=of_use_case(use_case.name))

    paused = [one.id for one in ours() if one.paused]
    run_prefect_deploy(use_case)
    for number in paused:  # deploying wakes what a person has paused
        client.pause_deployment(number)
    try:
        refresh_forms(use_case)
        told = []
    except ClosedLoopError as error:  # the rows may come later than the deployments
        told = [f"{use_case.name}: its windows could not be listed: {error}"]
    flows = {
        flow.id: flow.name
        for flow in client.read_flows(deployment_filter=of_use_case(use_case.name))
    }
    return sorted(_describe(flows[one.flow_id], one) for one in ours()) + told


def find_prefect_yaml() -> Path:
    """The file beside the flows, as in the repository, or else in the working directory;
    ClosedLoopError when it is in neither."""
    folders = (Path(__file__).resolve().parents[2], Path.cwd())
    for folder in folders:
        if (folder / PREFECT_YAML).is_file():
            return folder / PREFECT_YAML
    raise ClosedLoopError(
        where=PREFECT_YAML,
        wanted="the file that says what is deployed",
        got=f"none in {folders[0]} or {folders[1]}",
        then="run this in the folder that holds it",
    )


def run_prefect_deploy(use_case: UseCase) -> None:
    """`prefect deploy --all` with the variables that prefect.yaml asks for; ClosedLoopError when it
    fails."""
    file = find_prefect_yaml()
    variables = {
        "USE_CASE_NAME": use_case.name,
        "USE_CASE_PATH": str(use_case.path),
        "USE_CASE_CRON": use_case.schedule.cron,
        "USE_CASE_TIMEZONE": use_case.schedule.timezone,
    }
    command = [
        sys.executable,
        "-m",
        "prefect",
        "--no-prompt",
        "deploy",
        "--all",
        "--prefect-file",
        str(file),
    ]
    # In the folder of the file: the modules that it names are beside it.
    done = subprocess.run(
        command, cwd=file.parent, env={**os.environ, **variables}, capture_output=True, text=True
    )
    if done.returncode:
        said = " ".join(f"{done.stdout}\n{done.stderr}".split())[-400:]
        raise ClosedLoopError(
            where=f"{file} for {use_case.name}",
            wanted="deployments that Prefect takes",
            got=said,
            then="mend the file, or run it by hand with the same variables",
        )


def tell_forgotten(client: SyncPrefectClient, listed: set[str]) -> list[str]:
    """A line for every deployment of ours whose use case is not listed any more; it is left, with
    its schedule."""
    from prefect.client.schemas import filters

    ours = filters.DeploymentFilter(tags=filters.DeploymentFilterTags(all_=[TAG]))
    flows = {flow.id: flow.name for flow in client.read_flows(deployment_filter=ours)}
    left = [
        one for one in client.read_deployments(deployment_filter=ours) if one.name not in listed
    ]
    names = sorted(f"{flows[one.flow_id]}/{one.name}" for one in left)
    return [
        f"{name}: not in CLOSEDLOOP_USE_CASES, and left as it is; to remove it: prefect deployment delete {name}"
        for name in names
    ]


def _describe(flow: str, one: DeploymentResponse) -> str:
    """A deployment in a line: its name, where it runs, and when."""
    from prefect.client.schemas.schedules import CronSchedule

    crons = [(schedule.schedule, schedule.active) for schedule in one.schedules]
    times = [
        f"{cron.cron} {cron.timezone}" + ("" if active else " (paused)")
        for cron, active in crons
        if isinstance(cron, CronSchedule)
    ]
    return f"{flow}/{one.name}: in {one.work_pool_name}, {', '.join(times) or 'when asked'}{' (paused)' if one.paused else ''}"


def main() -> int:
    """Deploy, and say what is there now; 0, or the exit code of what went wrong."""
    try:
        print("\n".join(deploy_everything(Settings())))
    except ClosedLoopError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
