"""MLflow's registry read over its REST API, without MLflow's library; `live.py` says why."""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_API, _FILES = "api/2.0/mlflow", "api/2.0/mlflow-artifacts/artifacts"
_SECONDS = 10.0
# The error codes for a model, a version and an alias that do not exist.
_ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


class RegistryServer:
    """Reads from an MLflow server.

    Credentials are those of MLflow's own client: MLFLOW_TRACKING_USERNAME and _PASSWORD, or
    MLFLOW_TRACKING_TOKEN. Every error is an OSError, or a ValueError when the answer is not
    MLflow's.
    """

    def __init__(self, tracking_uri: str) -> None:
        self._base = tracking_uri.rstrip("/")

    def aliased(self, name: str, alias: str) -> int | None:
        """The version that an alias points at, if any."""
        try:
            found = self._find("registered-models/alias", name=name, alias=alias)
        except PermissionError:
            # To a user who is no administrator, MLflow also forbids a model that does not exist.
            if self._find("registered-models/get", name=name) is not None:
                raise
            found = None
        return None if found is None else int(found["model_version"]["version"])

    def version(self, name: str, number: int) -> tuple[str, dict[str, str]] | None:
        """Where a version's files are, and its tags; None when there is no such version."""
        found = self._find("model-versions/get", name=name, version=str(number))
        if found is None:
            return None
        described = found["model_version"]
        return described["source"], {
            tag["key"]: tag.get("value", "") for tag in described.get("tags", [])
        }

    def download(self, source: str, folder: Path) -> Path:
        """Download the folder at `mlflow-artifacts:/path`, which the server itself hands out."""
        root = urllib.parse.urlparse(source).path.strip("/")
        target = folder / "files"
        for path in self._list(root):
            inside = target / Path(path).relative_to(root)
            inside.parent.mkdir(parents=True, exist_ok=True)
            with self._open(f"{_FILES}/{urllib.parse.quote(path)}") as answer:
                inside.write_bytes(answer.read())
        return target

    def _list(self, path: str) -> Iterator[str]:
        with self._open(f"{_FILES}?{urllib.parse.urlencode({'path': path})}") as answer:
            for entry in json.load(answer).get("files", []):
                # Only the name is used: a path that leads outside of the folder is not followed.
                inside = f"{path}/{Path(entry['path']).name}"
                if entry.get("is_dir"):
                    yield from self._list(inside)
                else:
                    yield inside

    def _find(self, path: str, **query: str) -> Any:
        try:
            with self._open(f"{_API}/{path}?{urllib.parse.urlencode(query)}") as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            said = error.read()
            if error.code in (400, 404) and _error_code(said) in _ABSENT:
                return None
            kind = PermissionError if error.code == 403 else OSError
            raise kind(f"HTTP {error.code}: {said.decode(errors='replace')[:200]}") from None

    def _open(self, path: str) -> Any:
        request = urllib.request.Request(f"{self._base}/{path}", headers=_credentials())
        return urllib.request.urlopen(request, timeout=_SECONDS)


def _error_code(body: bytes) -> str:
    try:
        return str(json.loads(body)["error_code"])
    except (ValueError, KeyError, TypeError):
        return ""


def _credentials() -> dict[str, str]:
    user, password = (
        os.environ.get("MLFLOW_TRACKING_USERNAME"),
        os.environ.get("MLFLOW_TRACKING_PASSWORD"),
    )
    if user is not None and password is not None:
        return {
            "Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        }
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}
