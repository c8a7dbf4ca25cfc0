"""How MLflow's client is set up and reached: short timeouts, and errors of ours."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from closedloop.bundle.files import MAX_BUNDLE_BYTES
from closedloop.errors import ClosedLoopError, RegistryError
from closedloop.registry.embedded import prepare_database

# Settings of MLflow's client, unless the environment has its own.
CLIENT_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # With a server it would print the address of every run into the output that programs read.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # The addresses that a server signs for direct transfers often work inside its own network only.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
    # Its defaults try for four minutes to reach a server that is down, and wait two minutes for an
    # answer. A flow can be run again and a person wants to know soon: about three seconds for a
    # server that is down, a minute for a server that hangs.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
MAX_PAGES = 10_000


def prepare_client(tracking_uri: str) -> None:
    """Set what MLflow's client needs: its settings, and the tables of an embedded database.

    Raises OSError or sqlite3.Error when an embedded database cannot be opened, which MLflow itself
    would retry for minutes; RegistryError as `prepare_database` does.
    """
    for name, value in CLIENT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    if tracking_uri.startswith("sqlite:///"):
        prepare_database(Path(tracking_uri.removeprefix("sqlite:///").partition("?")[0]))


def load_client(tracking_uri: str) -> None:
    """Import MLflow now (seconds) rather than when the registry is asked first."""
    import mlflow.client

    if tracking_uri.startswith("sqlite:///"):
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


@contextmanager
def reaching(tracking_uri: str, purpose: str) -> Iterator[None]:
    """Turn whatever the block raises into a RegistryError with MLflow's address and `purpose`."""
    try:
        yield
    except ClosedLoopError:
        raise
    except Exception as error:  # MLflow lets SQLAlchemy's, requests' and OS errors through
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise RegistryError(
            where=without_password(f"MLflow at {tracking_uri}"),
            wanted=f"to {purpose}",
            got=without_password(reason),
            then="check that it runs and that MLFLOW_TRACKING_URI is right: closedloop doctor",
        ) from error


def download_files(tracking_uri: str, source: str, folder: str, *names: str) -> None:
    """Fetch those of the `names` that are at `source`, in a process that ends afterwards.

    The system ends a file that becomes larger than a bundle may be.
    """
    prepare_client(tracking_uri)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_BUNDLE_BYTES, MAX_BUNDLE_BYTES))
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    store = get_artifact_repository(source, tracking_uri=tracking_uri)
    there = {entry.path.rpartition("/")[2] for entry in store.list_artifacts() if not entry.is_dir}
    for name in names:
        if name in there:
            # Not `download_artifacts`, which follows what the store lists.
            store._download_file(name, str(Path(folder) / name))


def all_pages(ask: Callable[[str | None], Any]) -> Iterator[Any]:
    """What a search of MLflow's client finds, page by page; `ask` takes the token of a page.

    Raises RuntimeError when there is no end to the pages.
    """
    token, seen = None, set[str]()
    while True:
        page = ask(token)
        yield from page
        token = page.token
        if not token:
            return
        if token in seen or len(seen) >= MAX_PAGES:
            raise RuntimeError(f"no end after {len(seen) + 1} pages")
        seen.add(token)


def is_tagged(tag: str, value: str) -> str:
    """MLflow's filter for a tag; a window's name, and so a key, may contain quotes."""
    quote = '"' if "'" in value else "'"
    return f"tags.`{tag}` = {quote}{value}{quote}"


def without_password(text: str) -> str:
    """The text with the user and password in every address hidden."""
    return re.sub(r"//[^/@\s]*@", "//***@", text)
