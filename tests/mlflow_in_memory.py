"""A small MLflow model registry in memory, without files, and a client that crashes on demand.

The registry's contract tests run against it and against real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST


class MemoryClient:
    """The part of MLflow's client that moves aliases and tags."""

    def __init__(self) -> None:
        self._aliases: dict[str, dict[str, str]] = {}
        self._versions: dict[str, list[SimpleNamespace]] = {}
        self._tags: dict[str, dict[str, str]] = {}

    def create_registered_model(self, name: str) -> None:
        assert name not in self._versions
        self._versions[name], self._aliases[name], self._tags[name] = [], {}, {}

    def get_registered_model(self, name: str) -> SimpleNamespace:
        if name not in self._versions:
            raise MlflowException(f"no model {name}", error_code=RESOURCE_DOES_NOT_EXIST)
        return SimpleNamespace(aliases=dict(self._aliases[name]), tags=dict(self._tags[name]))

    def set_registered_model_tag(self, name: str, key: str, value: str) -> None:
        self._tags[name][key] = value

    def get_run(self, run_id: str) -> SimpleNamespace:
        return SimpleNamespace(
            info=SimpleNamespace(artifact_uri=f"memory/{run_id}"),
            data=SimpleNamespace(tags={"closedloop.sha256": f"files of {run_id}"}),
        )

    def create_model_version(
        self, name: str, source: str, run_id: str, tags: dict[str, str]
    ) -> SimpleNamespace:
        versions = self._versions[name]
        # Text, as it comes over HTTP.
        versions.append(
            SimpleNamespace(
                version=str(len(versions) + 1), source=source, run_id=run_id, tags=dict(tags)
            )
        )
        return versions[-1]

    def search_model_versions(self, filter_string: str, max_results: int) -> list[SimpleNamespace]:
        wanted, _, tagged = filter_string.partition(" and ")
        found = [
            version
            for name, versions in self._versions.items()
            if wanted == f"name='{name}'"
            for version in versions
        ]
        # Newest first, as MLflow has it.
        return [
            version
            for version in reversed(found)
            if not tagged
            or tagged in {f"tags.`{tag}` = '{value}'" for tag, value in version.tags.items()}
        ]

    def get_model_version(self, name: str, version: str) -> SimpleNamespace:
        if not 1 <= int(version) <= len(self._versions.get(name, [])):
            raise MlflowException(
                f"no version {version} of {name}", error_code=RESOURCE_DOES_NOT_EXIST
            )
        found = self._versions[name][int(version) - 1]
        return SimpleNamespace(
            **vars(found),
            aliases=[alias for alias, live in self._aliases[name].items() if live == version],
        )

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        self.get_model_version(name, version).tags[key] = value

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        self.get_model_version(name, version)
        self._aliases[name][alias] = version

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        self._aliases[name].pop(alias, None)


class CrashingClient:
    """A client that carries out `calls` calls and then fails, as after a lost connection."""

    def __init__(self, client: Any, calls: int) -> None:
        self._client, self.left = client, calls

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if self.left == 0:
                raise ConnectionError("cut off here")
            self.left -= 1
            return getattr(self._client, name)(*given, **named)

        return call
