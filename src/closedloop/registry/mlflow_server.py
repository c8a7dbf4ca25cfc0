"""MLflow's server as an ASGI application, which `closedloop up` puts behind a login."""

from __future__ import annotations

from typing import Any


def server_environment(store: str, artifacts: str) -> dict[str, str]:
    """What `mlflow server --no-serve-artifacts` tells its process: where versions and files are.

    `store` is a SQLAlchemy URL, `artifacts` the address of a folder. Files are shown; clients write
    them where `artifacts` says.
    """
    return {
        "_MLFLOW_SERVER_FILE_STORE": store,
        "_MLFLOW_SERVER_REGISTRY_STORE": store,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": artifacts,
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # The guard in front of it knows the names of this machine.
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
    }


def create_server() -> Any:
    """The application, in a process with `server_environment`."""
    from mlflow.server.fastapi_app import app

    return app
