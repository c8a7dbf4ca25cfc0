"""How MLflow is reached: with bounded patience, and with errors of ours, in which no password is shown."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from closedloop.errors import ClosedLoopError, RegistryError

# What MLflow's client is told unless the environment says otherwise.
CLIENT_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # The addresses that a server signs for direct transfers are often known inside its own network only.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
    # By itself it tries for four minutes to reach a server that is away, and waits two minutes for each answer. Whoever calls us can
    # be called again, and a person wants to know soon: about three seconds for a server that is away, one minute for one that hangs.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def prepare_client(tracking_uri: str) -> None:
    """Settings and folder that MLflow's client has to find; raises OSError or sqlite3.Error when an embedded database cannot be opened.

    MLflow itself would try for minutes to open a file that cannot be opened.
    """
    for name, value in CLIENT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    if tracking_uri.startswith("sqlite:///"):
        database = Path(tracking_uri.removeprefix("sqlite:///").partition("?")[0])
        database.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA schema_version")


@contextmanager
def reaching(tracking_uri: str, purpose: str) -> Iterator[None]:
    """Whatever goes wrong in the block becomes a RegistryError that says where MLflow is and what was wanted of it."""
    try:
        yield
    except ClosedLoopError:
        raise
    except Exception as error:  # MLflow raises its own, SQLAlchemy's, requests' and OSError alike
        said = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise RegistryError(where=_without_password(f"MLflow at {tracking_uri}"), wanted=f"to {purpose}", got=_without_password(said),
                            then="check that it runs and that MLFLOW_TRACKING_URI is right: closedloop doctor") from error  # fmt: skip


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//***@", text)
