"""The processes of `closedloop up`: what each runs, where it listens, and its environment."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from closedloop.turn.open import Loop
from flows.prefect_client.names import TRAIN, name_deployment


@dataclass(frozen=True, eq=False)
class StackProcess:
    """One process of the stack.

    `probe` is an address that answers 200 once it is up (empty: there is none), `pages` are the
    addresses for people, by name. `variable` sets the `port` it listens on. Servers must be up
    before the others are started.
    """

    name: str
    command: list[str]
    server: bool
    probe: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    port: int | None = None
    variable: str = ""
    environment: dict[str, str] = field(default_factory=dict)


def list_processes(
    loop: Loop, cron: str, environment: Mapping[str, str]
) -> tuple[StackProcess, ...]:
    """The processes to start, without an MLflow or Prefect that the environment names elsewhere."""
    elsewhere = environment.get("PREFECT_API_URL", "")
    return (
        *([] if loop.settings.mlflow_url else [_mlflow(loop)]),
        *([] if elsewhere else [_prefect(loop)]),
        _deployments(loop, cron, elsewhere),
        _api(loop),
    )


def _mlflow(loop: Loop) -> StackProcess:
    settings = loop.settings
    address = f"http://{settings.host}:{settings.mlflow_port}"
    return StackProcess(
        "MLflow",
        [
            *(sys.executable, "-m", "mlflow", "server"),
            *("--backend-store-uri", settings.tracking_uri),
            *("--workers", "1"),
            *("--default-artifact-root", settings.artifacts_folder.as_uri()),
            *("--host", settings.host),
            *("--port", str(settings.mlflow_port)),
        ],
        server=True,
        probe=f"{address}/health",
        pages={
            "MLflow": f"{address}/#/experiments?workflowType=machine_learning",
            "its models": f"{address}/#/models/{loop.use_case.name}",
        },
        port=settings.mlflow_port,
        variable="CLOSEDLOOP_MLFLOW_PORT",
        environment={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    )


def _prefect(loop: Loop) -> StackProcess:
    settings = loop.settings
    address = f"http://{settings.host}:{settings.prefect_port}"
    # Only its own pages may use it, under any name of this machine.
    origins = [
        f"http://{name}:{settings.prefect_port}"
        for name in dict.fromkeys([settings.host, "localhost", "127.0.0.1"])
    ]
    return StackProcess(
        "Prefect",
        [
            *(sys.executable, "-m", "prefect", "server", "start"),
            *("--host", settings.host),
            *("--port", str(settings.prefect_port)),
        ],
        server=True,
        probe=f"{address}/api/health",
        pages={"Prefect": f"{address}/deployments"},
        port=settings.prefect_port,
        variable="CLOSEDLOOP_PREFECT_PORT",
        environment={
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins),
            "PREFECT_UI_API_URL": f"{address}/api",
            "PREFECT_API_URL": "",
            "PREFECT_LOGGING_LEVEL": "WARNING",
        },
    )


def _deployments(loop: Loop, cron: str, elsewhere: str) -> StackProcess:
    settings, path = loop.settings, str(loop.use_case.path)
    api = f"http://{settings.host}:{settings.prefect_port}/api"
    return StackProcess(
        "deployments",
        [sys.executable, "-m", "flows.deployment.serve", path, cron],
        server=False,
        probe=""
        if elsewhere
        else f"{api}/deployments/name/{name_deployment(TRAIN, loop.use_case.name)}",
        environment={
            "PREFECT_API_URL": elsewhere or api,
            # A run that a person starts on Prefect's page begins soon, and its log is shown there.
            "PREFECT_RUNNER_POLL_FREQUENCY": "3",
            "PREFECT_LOGGING_LEVEL": "INFO",
            "PREFECT_LOGGING_TO_API_ENABLED": "true",
            # Prefect's default is so slow that a team's server takes a live run for dead.
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            # Prefect chooses the folder of a run, so paths must not be relative.
            "CLOSEDLOOP_HOME": str(settings.home_folder),
            "CLOSEDLOOP_USE_CASE": path,
            **({"CLOSEDLOOP_DATA": str(settings.data.resolve())} if settings.data else {}),
        },
    )


def _api(loop: Loop) -> StackProcess:
    settings = loop.settings
    address = f"http://{settings.host}:{settings.port}"
    return StackProcess(
        "API",
        [
            *(sys.executable, "-m", "closedloop", "serve"),
            *("--use-case", str(loop.use_case.path)),
            *("--host", settings.host),
            *("--port", str(settings.port)),
        ],
        server=False,
        probe=f"{address}/health",
        pages={"API": f"{address}/docs"},
        port=settings.port,
        variable="CLOSEDLOOP_PORT",
    )
