"""The processes of `closedloop up`: what each runs, where it listens, and its environment."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from closedloop.cli.page import LINK
from closedloop.operations.access.server import make_login
from closedloop.operations.access.servers_file import RunningServer
from closedloop.registry.mlflow_server import server_environment
from closedloop.turn.open import Loop
from flows.prefect_client.login import client_environment
from flows.prefect_client.names import TRAIN, name_deployment


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
    loop: Loop, cron: str, environment: Mapping[str, str]
) -> tuple[StackProcess, ...]:
    """The processes to start, without an MLflow or Prefect that the environment names elsewhere.

    Each server has a new login.
    """
    if elsewhere := environment.get("PREFECT_API_URL", ""):
        return (
            *_mlflow(loop),
            _deployments(loop, cron, {"PREFECT_API_URL": elsewhere}),
            _api(loop),
            _page(loop),
        )
    prefect = RunningServer(loop.settings.prefect_address, make_login(), "/deployments")
    client = client_environment(f"{prefect.address}/api", prefect.login, environment)
    return (
        *_mlflow(loop),
        _prefect(loop, prefect),
        _deployments(loop, cron, client, prefect),
        _api(loop),
        _page(loop),
    )


def _mlflow(loop: Loop) -> list[StackProcess]:
    settings = loop.settings
    if settings.mlflow_url:
        return []
    first = "/#/experiments?workflowType=machine_learning"
    mlflow = RunningServer(settings.mlflow_address, make_login(), first)
    return [
        StackProcess(
            "MLflow",
            factory="closedloop.registry.mlflow_server:create_server",
            server=mlflow,
            probe=f"{mlflow.address}/health",
            pages={
                "MLflow": mlflow.link(),
                "its models": mlflow.link(f"/#/models/{loop.use_case.name}"),
            },
            host=settings.mlflow_host,
            port=settings.mlflow_port,
            variable="CLOSEDLOOP_MLFLOW_PORT",
            environment=server_environment(
                settings.tracking_uri, settings.artifacts_folder.as_uri()
            ),
        )
    ]


def _prefect(loop: Loop, prefect: RunningServer) -> StackProcess:
    return StackProcess(
        "Prefect",
        factory="flows.deployment.embedded_server:create_server",
        server=prefect,
        probe=f"{prefect.address}/api/health",
        pages={"Prefect": prefect.link()},
        host=loop.settings.prefect_host,
        port=loop.settings.prefect_port,
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
    loop: Loop, cron: str, client: dict[str, str], prefect: RunningServer | None = None
) -> StackProcess:
    settings, path = loop.settings, str(loop.use_case.path)
    name = name_deployment(TRAIN, loop.use_case.name)
    return StackProcess(
        "deployments",
        [sys.executable, "-m", "flows.deployment.serve", path, cron],
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
            "CLOSEDLOOP_USE_CASE": path,
            "CLOSEDLOOP_API_URL": settings.api_url or settings.api_address,
            "CLOSEDLOOP_PAGE_URL": settings.page_link,
            **({"CLOSEDLOOP_DATA": str(settings.data.resolve())} if settings.data else {}),
        },
    )


def _api(loop: Loop) -> StackProcess:
    settings = loop.settings
    return StackProcess(
        "API",
        [
            *(sys.executable, "-m", "closedloop", "serve"),
            *("--use-case", str(loop.use_case.path)),
            *("--host", settings.host),
            *("--port", str(settings.port)),
        ],
        probe=f"{settings.api_address}/health",
        pages={"API": f"{settings.api_address}/docs"},
        host=settings.host,
        port=settings.port,
        variable="CLOSEDLOOP_PORT",
        environment={"CLOSEDLOOP_PAGE_URL": settings.page_link},
    )


def _page(loop: Loop) -> StackProcess:
    settings = loop.settings
    page = RunningServer(settings.page_link, make_login(), "/enter")
    return StackProcess(
        "page",
        [
            *(sys.executable, "-m", "closedloop", "page"),
            *("--use-case", str(loop.use_case.path)),
            *("--host", settings.page_host),
            *("--port", str(settings.page_port)),
        ],
        probe=f"{settings.page_address}/alive",
        pages={"the page": page.link()},
        host=settings.page_host,
        port=settings.page_port,
        variable="CLOSEDLOOP_PAGE_PORT",
        environment={LINK: page.login.partition(":")[2]},
        announced=page,
    )
