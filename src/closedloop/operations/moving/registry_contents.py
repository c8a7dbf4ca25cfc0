"""What an MLflow holds of a use case, as far as copying and comparing it needs to know."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from closedloop.errors import RegistryError
from closedloop.registry.mlflow_client import all_pages
from closedloop.registry.registry import Registry
from closedloop.registry.runs import DIGEST
from closedloop.registry.versions import PRUNED, PRUNING, STATUS, VersionFacts

# Tags of copies. ORIGIN: the run id of the original, and for a version also its number.
ORIGIN, WHOLE, NUMBERS = (
    "closedloop.migrated_from",
    "closedloop.migrated",
    "closedloop.numbers_through",
)


def check_source(source: Registry, report: Callable[[int, int], object]) -> None:
    """Raise RegistryError when the run or files of a version are missing: it cannot be copied.

    Downloads that `source` keeps of its versions are deleted.
    """
    runs = {run.info.run_id: run.info.artifact_uri for run in list_runs(source)}
    versions = list_versions(source)
    for done, version in enumerate(versions):
        report(done, len(versions))
        if not str(version.source).startswith(f"{runs.get(version.run_id, 'no such run')}/"):
            raise RegistryError(
                where=f"model {source.name} version {version.version}",
                wanted=f"files in a run of experiment {source.name}",
                got=f"{version.source} of run {version.run_id or '-'}",
                then="delete that version here if nobody needs it; its number stays unused",
            )
        if has_files(version):
            fetch_once(source, int(version.version))


def has_files(version: Any) -> bool:
    """False for a pruned version, of which only number, tags and run are copied."""
    return version.tags.get(STATUS) not in (PRUNING, PRUNED)


def fetch_once(registry: Registry, number: int) -> None:
    """Download a version, which checks its sha256, and delete it: the disk holds one at a time."""
    registry.download(number)
    shutil.rmtree(registry._downloads / registry.name, ignore_errors=True)


def describe_versions(registry: Registry) -> list[VersionFacts]:
    """The facts of all versions that do not change in a copy: all but the ids of runs."""
    return [replace(version, run_id="") for version in registry.versions()]


def count_runs(source: Registry) -> int:
    """Number of runs of a use case, including deleted ones that MLflow still keeps."""
    return len(list_runs(source))


def list_runs(registry: Registry) -> list[Any]:
    """All runs of the use case's experiment, also deleted ones, oldest first."""
    from mlflow.entities import ViewType

    with registry._reaching("list the runs"):
        experiment = registry._client.get_experiment_by_name(registry.name)
        if experiment is None:
            return []
        runs = list(
            all_pages(
                lambda token: registry._client.search_runs(
                    [experiment.experiment_id], run_view_type=ViewType.ALL, page_token=token
                )
            )
        )
    return sorted(runs, key=lambda run: (run.info.start_time or 0, run.info.run_id))


def list_versions(registry: Registry) -> list[Any]:
    """All versions of the use case, as MLflow describes them."""
    with registry._reaching("list the versions"):
        return list(
            registry._client.search_model_versions(f"name='{registry.name}'", max_results=10_000)
        )


def read_aliases(registry: Registry) -> dict[str, int]:
    """Alias -> version."""
    with registry._reaching("read the aliases"):
        model = registry._model()
    return (
        {} if model is None else {alias: int(version) for alias, version in model.aliases.items()}
    )


def origin_of(version: Any) -> str:
    """What a copy of this version is tagged with."""
    return f"{version.run_id}/{version.version}"


def is_whole(run: Any) -> bool:
    """Whether a copy of a run is complete."""
    return run is not None and WHOLE in run.data.tags


def own_tags(tags: dict[str, str]) -> dict[str, str]:
    """The tags that are not about copying: the original may be a copy itself."""
    return {tag: value for tag, value in tags.items() if tag not in (ORIGIN, WHOLE, NUMBERS)}


def changed_tags(wanted: dict[str, str], there: dict[str, str]) -> dict[str, str]:
    """The wanted tags that are not there yet."""
    return {tag: value for tag, value in own_tags(wanted).items() if there.get(tag) != value}


def read_digests(registry: Registry) -> dict[int, str]:
    """Version -> the sha256 of its model files."""
    return {
        int(version.version): version.tags.get(DIGEST, "") for version in list_versions(registry)
    }
