"""The processes of `closedloop up`: what each runs, where it listens, and its environment."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from closedloop.cli.page import LINK
from closedloop.errors import UseCaseError
from closedloop.operations.access.server import make_login
from closedloop.operations.access.servers_file import RunningServer, name_page
from closedloop.registry.mlflow_server import server_environment
from closedloop.settings import Settings
from closedloop.turn.open import Loop
from closedloop.use_case.contract import UseCase
from flows.prefect_client.login import client_environment
from flows.prefect_client.names import TRAIN, name_deployment

_LAST_PORT = 65_535


@dataclass(frozen=True, eq=False)
class StackProcess:
    """One process of the stack.

    A `server` must be up before the others are started; its `factory` makes the application that
    runs behind its login. The others have a `command`. `probe` is an address that answers 200 once
    the process is up (empty: there is none), asked with `login` where there is one. `pages` are the
    addresses for people, by name. `variable` sets the `port` on which it listens at `host`. One
    without a `server` may have a login of its own, which `announced` tells other commands.
    """

    name: str
    command: list[str] = field(default_factory=list)
    factory: str = ""
    server: RunningServer | None = None
    probe: str = ""
    login: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    host: str = ""
    port: int | None = None
    variable: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    announced: RunningServer | None = None


def list_processes(
    settings: Settings, loops: Sequence[Loop], crons: Sequence[str], environment: Mapping[str, str]
) -> tuple[StackProcess, ...]:
    """The processes to start, without an MLflow or Prefect that the environment names elsewhere.

    Each server has a new login. There is a page for each of the `loops`, on the ports from that of
    the settings on.
    """
    use_cases = [loop.use_case for loop in loops]
    mlflow = () if settings.mlflow_url else (_mlflow(settings, use_cases),)
    servers = (_api(settings, use_cases), *_pages(settings, use_cases))
    _refuse_ports(servers)
    if elsewhere := environment.get("PREFECT_API_URL", ""):
        runner = _deployments(settings, use_cases, crons, {"PREFECT_API_URL": elsewhere})
        return (*mlflow, runner, *servers)
    prefect = RunningServer(settings.prefect_address, make_login(), "/deployments")
    client = client_environment(f"{prefect.address}/api", prefect.login, environment)
    runner = _deployments(settings, use_cases, crons, client, prefect)
    return (*mlflow, _prefect(settings, prefect), runner, *servers)


def _refuse_ports(servers: Iterable[StackProcess]) -> None:
    """Refuse what no settings show: further pages have the ports after that of the first."""
    taken: dict[tuple[str, int], str] = {}
    for process in servers:
        assert process.port is not None
        holder = taken.setdefault((process.host, process.port), process.name)
        if process.port > _LAST_PORT or holder != process.name:
            raise UseCaseError(
                where=f"port {process.port} of {process.name}",
                wanted=f"a port of its own, {_LAST_PORT} at most",
                got=f"that of {holder}" if holder != process.name else str(process.port),
                then=f"set {process.variable} to another port",
            )


def _mlflow(settings: Settings, use_cases: Sequence[UseCase]) -> StackProcess:
    first = "/#/experiments?workflowType=machine_learning"
    mlflow = RunningServer(settings.mlflow_address, make_login(), first)
    models = {
        _named("its models", use_case, use_cases): mlflow.link(f"/#/models/{use_case.name}")
        for use_case in use_cases
    }
    return StackProcess(
        "MLflow",
        factory="closedloop.registry.mlflow_server:create_server",
        server=mlflow,
        probe=f"{mlflow.address}/health",
        pages={"MLflow": mlflow.link(), **models},
        host=settings.mlflow_host,
        port=settings.mlflow_port,
        variable="CLOSEDLOOP_MLFLOW_PORT",
        environment=server_environment(settings.tracking_uri, settings.artifacts_folder.as_uri()),
    )


def _named(what: str, use_case: UseCase, use_cases: Sequence[UseCase]) -> str:
    return what if len(use_cases) == 1 else f"{what}, {use_case.name}"


def _prefect(settings: Settings, prefect: RunningServer) -> StackProcess:
    return StackProcess(
        "Prefect",
        factory="flows.deployment.embedded_server:create_server",
        server=prefect,
        probe=f"{prefect.address}/api/health",
        pages={"Prefect": prefect.link()},
        host=settings.prefect_host,
        port=settings.prefect_port,
        variable="CLOSEDLOOP_PREFECT_PORT",
        environment={
            # Its pages ask the server that they came from, under whatever name.
            "PREFECT_UI_API_URL": "/api",
            "PREFECT_API_URL": "",
            "PREFECT_SERVER_API_AUTH_STRING": "",
            "PREFECT__SERVER_FINAL": "1",
            "PREFECT_LOGGING_LEVEL": "WARNING",
        },
    )


def _deployments(
    settings: Settings,
    use_cases: Sequence[UseCase],
    crons: Sequence[str],
    client: dict[str, str],
    prefect: RunningServer | None = None,
) -> StackProcess:
    planned = zip(use_cases, crons, strict=True)
    name = name_deployment(TRAIN, use_cases[-1].name)  # the last that is registered
    return StackProcess(
        "deployments",
        [
            *(sys.executable, "-m", "flows.deployment.serve"),
            *(word for use_case, cron in planned for word in (str(use_case.path), cron)),
        ],
        probe=f"{prefect.address}/api/deployments/name/{name}" if prefect else "",
        login=prefect.login if prefect else "",
        environment={
            **client,
            # A run that a person starts on Prefect's page begins soon, and its log is shown there.
            "PREFECT_RUNNER_POLL_FREQUENCY": "3",
            "PREFECT_LOGGING_LEVEL": "INFO",
            "PREFECT_LOGGING_TO_API_ENABLED": "true",
            # Prefect's default is so slow that a team's server takes a live run for dead.
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            # Prefect chooses the folder of a run, so paths must not be relative.
            "CLOSEDLOOP_HOME": str(settings.home_folder),
            **_name_paths(use_cases),
            "CLOSEDLOOP_API_URL": settings.api_url or settings.api_address,
            **({"CLOSEDLOOP_DATA": str(settings.data.resolve())} if settings.data else {}),
        },
    )


def _name_paths(use_cases: Sequence[UseCase]) -> dict[str, str]:
    """The use cases, for a process that works on all of them; the first also by itself."""
    paths = [str(use_case.path) for use_case in use_cases]
    first = {"CLOSEDLOOP_USE_CASE": paths[0]}
    if len(paths) == 1:
        return first
    if with_comma := [path for path in paths if "," in path]:
        raise UseCaseError(
            where="CLOSEDLOOP_USE_CASES",
            wanted="paths without a comma, which separates them",
            got=with_comma[0],
            then="rename the folder",
        )
    return {**first, "CLOSEDLOOP_USE_CASES": ",".join(paths)}


def _api(settings: Settings, use_cases: Sequence[UseCase]) -> StackProcess:
    return StackProcess(
        "API",
        [
            *(sys.executable, "-m", "closedloop", "serve"),
            *(("--use-case", str(use_cases[0].path)) if len(use_cases) == 1 else ()),
            *("--host", settings.host),
            *("--port", str(settings.port)),
        ],
        probe=f"{settings.api_address}/health",
        pages={"API": f"{settings.api_address}/docs"},
        host=settings.host,
        port=settings.port,
        variable="CLOSEDLOOP_PORT",
        environment={"CLOSEDLOOP_PAGE_URL": settings.page_link, **_name_paths(use_cases)},
    )


def _pages(settings: Settings, use_cases: Sequence[UseCase]) -> Iterator[StackProcess]:
    """A page for each use case. Only the first is where people find it under another address."""
    for place, use_case in enumerate(use_cases):
        port = settings.page_port + place
        its = (
            settings
            if not place
            else settings.model_copy(update={"page_port": port, "page_url": None})
        )
        page = RunningServer(its.page_link, make_login(), "/enter")
        yield StackProcess(
            name_page(use_case.name),
            [
                *(sys.executable, "-m", "closedloop", "page"),
                *("--use-case", str(use_case.path)),
                *("--host", its.page_host),
                *("--port", str(port)),
            ],
            probe=f"{its.page_address}/alive",
            pages={_named("the page", use_case, use_cases): page.link()},
            host=its.page_host,
            port=port,
            variable="CLOSEDLOOP_PAGE_PORT",
            environment={
                LINK: page.login.partition(":")[2],
                "CLOSEDLOOP_PAGE_URL": its.page_link,
            },
            announced=page,
        )
