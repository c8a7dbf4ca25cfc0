"""Where MLflow says that files are, checked before anything is read, written or deleted there.

What a registry says is not ours: a server may be another than it was, and whoever may write to it
may write any address into it. So an address leads only to known kinds of stores, a local one only
into our own artifacts, and of a bundle only the files that a bundle may have are fetched.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from urllib.parse import unquote, urlparse

from closedloop.bundle.files import BUNDLE_FILES
from closedloop.errors import RegistryError
from closedloop.registry.live_rest import DOWNLOAD_SECONDS, RegistryServer
from closedloop.registry.mlflow_client import without_password

# Stores that need credentials of their own, of which MLflow's server hands out none.
_STORES = ("s3", "gs", "wasbs", "abfss", "r2", "b2", "hdfs")
_DOWNLOAD = (
    "import sys; from closedloop.registry.mlflow_client import download_files;"
    "download_files(*sys.argv[1:])"
)


def check_place(uri: str, tracking_uri: str, artifacts: Path) -> str:
    """The address, when files may be read, written and deleted there.

    That is in MLflow's server itself, in a store, or on this machine: in the folder `artifacts`
    when a server says so, anywhere when it stands in an MLflow database of ours. Raises
    RegistryError for everything else.
    """
    remote = tracking_uri.startswith(("http:", "https:"))
    try:
        parsed = urlparse(uri)
        path = unquote(unquote(parsed.path))
        sound = not (
            re.search(r"[\0-\x1f\x7f\\]", unquote(uri))
            or ".." in path.split("/")
            or len(uri) > 2000
            or parsed.query
            or parsed.fragment
        )
        if parsed.scheme == "mlflow-artifacts":
            allowed = remote and parsed.netloc in ("", urlparse(tracking_uri).netloc)
        elif (local := local_folder(uri)) is not None:
            inside = local.resolve().is_relative_to(artifacts.resolve())
            allowed = parsed.netloc in ("", "localhost") and (inside or not remote)
        else:
            allowed = parsed.scheme in _STORES
    except (ValueError, OSError):
        sound = allowed = False
    if sound and allowed:
        return uri
    raise RegistryError(
        where=without_password(f"MLflow at {tracking_uri}"),
        wanted=f"files in that server, in a store ({', '.join(_STORES)}) or in {artifacts}",
        got=f"the address {without_password(uri)[:200]!r}",
        then="nothing was read or written there; find out who changed it in MLflow",
    )


def local_folder(uri: str) -> Path | None:
    """The path of an address when it is on this machine."""
    parsed = urlparse(uri)
    return Path(unquote(parsed.path)) if parsed.scheme in ("", "file") else None


def download_bundle(tracking_uri: str, source: str, folder: Path) -> None:
    """As `download`, the files that a bundle may have."""
    download(tracking_uri, source, BUNDLE_FILES, folder)


def download(tracking_uri: str, source: str, names: Collection[str], folder: Path) -> None:
    """Fetch those of the `names` that are at a checked `source` into `folder`, one by one.

    Raises OSError when they cannot be had, are too large or take too long.
    """
    if source.startswith("mlflow-artifacts:"):
        RegistryServer(tracking_uri).download(source, names, folder)
        return
    # MLflow's library knows every other store. In a process of its own it can be limited, and a
    # service does without it.
    try:
        done = subprocess.run(
            [sys.executable, "-c", _DOWNLOAD, tracking_uri, source, str(folder), *names],
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{source} took more than {DOWNLOAD_SECONDS:.0f} seconds") from None
    if done.returncode != 0:
        raise OSError(
            f"MLflow could not download {source}: {done.stderr.strip().splitlines()[-1:]}"
        )


def download_all(tracking_uri: str, source: str, folder: Path) -> None:
    """Fetch everything at a checked `source`; raises as `download`."""
    if source.startswith("mlflow-artifacts:"):
        RegistryServer(tracking_uri).download_all(source, folder)
    else:
        from mlflow.artifacts import download_artifacts

        download_artifacts(artifact_uri=source, dst_path=str(folder), tracking_uri=tracking_uri)
