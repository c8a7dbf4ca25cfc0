"""MLflow's registry read over its REST API, without MLflow's library; `live.py` says why."""

from __future__ import annotations

import base64
import json
import os
import re
import time
import urllib.error
import urllib.parse
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from closedloop.bundle.files import MAX_BUNDLE_BYTES
from closedloop.registry.bounded_http import open_bounded

DOWNLOAD_SECONDS = 600.0
_MAX_ENTRIES = 10_000
_API, _FILES = "api/2.0/mlflow", "api/2.0/mlflow-artifacts/artifacts"
_SECONDS, _MAX_ANSWER_BYTES, _MAX_ERROR_BYTES, _CHUNK_BYTES = 10.0, 10_000_000, 10_000, 1 << 16
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

    def run(self, name: str, number: int) -> str:
        """The id of the run that made a version; empty when there is no such version."""
        found = self._find("model-versions/get", name=name, version=str(number))
        return "" if found is None else str(found["model_version"].get("run_id", ""))

    def download(self, source: str, names: Collection[str], folder: Path) -> None:
        """Save files at `mlflow-artifacts:/path`, which the server itself hands out.

        Only those of the `names` are asked for, if they are there.
        """
        taking = _Taking(source, folder)
        there = {name for name, is_folder in self._list(taking.root) if not is_folder}
        for name in names:
            if name in there:
                self._save(taking, name)

    def download_all(self, source: str, folder: Path) -> None:
        """Save every file and folder at `mlflow-artifacts:/path`."""
        taking, waiting = _Taking(source, folder), [""]
        while waiting:
            inside = waiting.pop()
            for name, is_folder in self._list(f"{taking.root}/{inside}".rstrip("/")):
                taking.count()
                if is_folder:
                    waiting.append(f"{inside}{name}/")
                else:
                    self._save(taking, f"{inside}{name}")

    def _save(self, taking: _Taking, name: str) -> None:
        address = f"{_FILES}/{urllib.parse.quote(f'{taking.root}/{name}')}"
        path = taking.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            self._open(address, taking.until - time.monotonic()) as answer,
            path.open("xb") as file,
        ):
            while content := answer.read1(_CHUNK_BYTES):
                file.write(content)
                taking.take(len(content))

    def _list(self, path: str) -> Iterator[tuple[str, bool]]:
        """Names in a folder, and whether each is a folder.

        Only the last part of what a server lists is used, and only when it is a name.
        """
        listed = self._read(f"{_FILES}?{urllib.parse.urlencode({'path': path})}")
        for entry in listed.get("files", ()):
            yield check_name(entry["path"].rpartition("/")[2]), bool(entry.get("is_dir"))

    def _read(self, path: str) -> Any:
        with self._open(path, _SECONDS) as answer:
            content = answer.read(_MAX_ANSWER_BYTES + 1)
        if len(content) > _MAX_ANSWER_BYTES:
            raise OSError(f"an answer of more than {_MAX_ANSWER_BYTES:,} bytes")
        return json.loads(content)

    def _find(self, path: str, **query: str) -> Any:
        try:
            return self._read(f"{_API}/{path}?{urllib.parse.urlencode(query)}")
        except urllib.error.HTTPError as error:
            said = error.read(_MAX_ERROR_BYTES)
            if error.code in (400, 404) and _error_code(said) in _ABSENT:
                return None
            kind = PermissionError if error.code == 403 else OSError
            raise kind(f"HTTP {error.code}: {said.decode(errors='replace')[:200]}") from None

    def _open(self, path: str, seconds: float) -> AbstractContextManager[Any]:
        return open_bounded(f"{self._base}/{path}", _credentials(), seconds)


class _Taking:
    """A download under way, and how much of it may still come."""

    def __init__(self, source: str, folder: Path) -> None:
        self.root, self.folder = urllib.parse.urlparse(source).path.strip("/"), folder
        self.until = time.monotonic() + DOWNLOAD_SECONDS
        self._source, self._bytes, self._entries = source, MAX_BUNDLE_BYTES, _MAX_ENTRIES

    def take(self, size: int) -> None:
        self._bytes -= size
        if self._bytes < 0:
            raise OSError(f"{self._source} has more than {MAX_BUNDLE_BYTES:,} bytes")

    def count(self) -> None:
        self._entries -= 1
        if self._entries < 0:
            raise OSError(f"{self._source} has more than {_MAX_ENTRIES:,} files and folders")


def check_name(name: str) -> str:
    """The name, when it can be that of a file in a folder; raises ValueError for any other."""
    if name in ("", ".", "..") or re.search(r"[\0-\x1f\x7f/\\]", name) or len(name.encode()) > 255:
        raise ValueError(f"{name[:80]!r} is no name of a file")
    return name


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
