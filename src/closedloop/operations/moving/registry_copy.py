"""Fills one MLflow with what another holds of a use case: runs with their files, versions under
their numbers, and at last the aliases.

Every copy is tagged with what it was made from, so that work that was cut off goes on where it was,
and nothing is made twice. Run ids are MLflow's to give; version numbers it gives one by one, and
never again, not even that of a version that was deleted: a gap is made anew by making a version and
deleting it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from closedloop.errors import RegistryError
from closedloop.registry.mlflow_client import without_password
from closedloop.registry.registry import Registry
from closedloop.registry.runs import DIGEST
from closedloop.registry.versions import PRODUCTION, PRUNED, PRUNING, STATUS, VersionFacts

# ORIGIN: of a run the id of the one it was made from, of a version that of its run, and its number.
# WHOLE: all of a run is there.
ORIGIN, WHOLE, NUMBERS = (
    "closedloop.migrated_from",
    "closedloop.migrated",
    "closedloop.numbers_through",
)
_GAP, _NO_FILES = "a deleted version", "deleted:/version"
# Hears how much of how much is done.
Report = Callable[[int, int], object]


@dataclass(frozen=True)
class LeftToCopy:
    """What is not yet in the copy: runs, versions, and tags and aliases that differ on versions
    that are there."""

    runs: int
    versions: int
    changes: int


class RegistryCopy(Registry):
    """The MLflow that is filled. Each method takes the one that it is filled from, which is only
    read, and may be repeated."""

    def refuse_foreign(self, source: Registry) -> None:
        """Raise RegistryError when there are versions of this name that were not made from those of
        `source`."""
        known = {_origin(one) for one in _versions(source)} | {_GAP}
        foreign = [str(one.version) for one in _versions(self) if one.tags.get(ORIGIN) not in known]
        if foreign:
            raise RegistryError(
                where=f"model {self.name} at {without_password(self.tracking_uri)}",
                wanted="no versions but copies of those here",
                got=f"version {', '.join(foreign)}, made elsewhere",
                then="name another MLflow server, or delete that model there; nothing was written",
            )

    def left_to_copy(self, source: Registry) -> LeftToCopy:
        """What the methods below would do now. Writes nothing, makes no experiment."""
        there = {int(one.version): one.tags for one in _versions(self)}
        found = {int(one.version): one.tags for one in _versions(source)}
        changed = sum(
            len(_changed(tags, there[number])) for number, tags in found.items() if number in there
        )
        wanted, live = _aliases(source), _aliases(self)
        moved = [
            alias
            for alias in {*wanted, *live}
            if wanted.get(alias) != live.get(alias) and wanted.get(alias, 0) in {0, *there}
        ]
        return LeftToCopy(
            count_runs(source) - self.count_runs(source),
            len(set(found) - set(there)),
            changed + len(moved),
        )

    def copy_runs(self, source: Registry, report: Report) -> dict[str, str]:
        """Make every run that is not here, with its files, and finish those that were cut off;
        returns source's run id -> the one here.

        Name, times, status, metrics, parameters, tags and inputs are those of the original; a run
        that is deleted there is here, too.
        """
        copies, runs = self._copied_runs(), _runs(source)
        for done, run in enumerate(runs):
            report(done, len(runs))
            copy = copies.get(run.info.run_id)
            if copy is None or not _is_whole(copy):
                copy = self._copy_run(source, run, copy)
            if run.info.lifecycle_stage == "deleted" != copy.info.lifecycle_stage:
                with self._reaching("delete a run"):
                    self._client.delete_run(copy.info.run_id)
            copies[run.info.run_id] = copy
        self._remove_doubled({one.info.run_id for one in copies.values()})
        return {origin: str(copy.info.run_id) for origin, copy in copies.items()}

    def copy_versions(
        self, source: Registry, runs: dict[str, str], through: int, report: Report
    ) -> None:
        """Make every version that is not here, under its own number, and give those that are here
        the tags of the original.

        `runs` is what `copy_runs` returned. No number up to `through` will be given to a later
        version, though the last ones were deleted. Raises RegistryError when this MLflow has
        already given a number away.
        """
        originals = sorted(_versions(source), key=lambda one: int(one.version))
        with self._reaching("copy the versions"):
            self._make_model(source)
            for one in _versions(self):
                if one.tags.get(ORIGIN, _GAP).rpartition("/")[2] != str(
                    one.version
                ):  # left when a gap was cut off
                    self._client.delete_model_version(self.name, str(one.version))
            there = {int(one.version): one.tags for one in _versions(self)}
            for done, original in enumerate(originals):
                report(done, len(originals))
                number = int(original.version)
                if number not in there:
                    self._make_version(source, original, runs)
                for tag, value in _changed(original.tags, there.get(number, original.tags)).items():
                    self._client.set_model_version_tag(self.name, str(number), tag, value)
            if through > max((int(one.version) for one in originals), default=0):
                self._use_up_numbers(through)

    def check_files(self, source: Registry, report: Report) -> int:
        """Fetch every version that has files from here; how many.

        Raises RegistryError when files are not those that were registered in `source`.
        """
        there, digests = _digests(self), _digests(source)
        if there != digests:
            raise RegistryError(
                where=f"model {self.name} at {without_password(self.tracking_uri)}",
                wanted="the sha256 of those here",
                got="others",
                then="somebody changed it meanwhile: migrate again",
            )
        whole = [one for one in _versions(self) if _has_files(one)]
        for done, one in enumerate(whole):
            report(done, len(whole))
            _fetch_once(self, int(one.version))
        return len(whole)

    def copy_aliases(self, source: Registry) -> None:
        """Point every alias to where it points in `source`, `production` last, and remove those
        that are not there."""
        wanted, live = _aliases(source), _aliases(self)
        with self._reaching("move the aliases"):
            for alias in sorted({*wanted, *live}, key=lambda one: (one == PRODUCTION, one)):
                if alias not in wanted:
                    self._client.delete_registered_model_alias(self.name, alias)
                elif wanted[alias] != live.get(alias):
                    self._client.set_registered_model_alias(self.name, alias, str(wanted[alias]))

    def count_runs(self, source: Registry) -> int:
        """How many of the runs of `source` are here, whole."""
        copies = self._copied_runs()
        return sum(_is_whole(copies.get(one.info.run_id)) for one in _runs(source))

    # Inside

    def _copy_run(self, source: Registry, run: Any, copy: Any) -> Any:
        from mlflow.entities import Metric, Param

        with source._reaching("read a run"):
            histories = [
                source._client.get_metric_history(run.info.run_id, name)
                for name in run.data.metrics
            ]
            files = [one.path for one in source._client.list_artifacts(run.info.run_id)]
        metrics = [
            Metric(one.key, one.value, one.timestamp, one.step)
            for history in histories
            for one in history
        ]
        parameters = [Param(name, value) for name, value in run.data.params.items()]
        with tempfile.TemporaryDirectory() as folder, self._reaching("copy a run"):
            if copy is None:
                copy = self._client.create_run(
                    self._experiment(),
                    start_time=run.info.start_time,
                    run_name=run.info.run_name,
                    tags={**_given(run.data.tags), ORIGIN: run.info.run_id},
                )
            made = copy.info.run_id
            if metrics or parameters:
                self._client.log_batch(made, metrics=metrics, params=parameters)
            lies_here = source.local_file(run.info.run_id, "")
            for path in files if lies_here is None else ():
                with source._reaching("read the files of a run"):
                    source._client.download_artifacts(run.info.run_id, path, folder)
            if files:
                self._client.log_artifacts(made, folder if lies_here is None else str(lies_here))
            if run.inputs.dataset_inputs:
                self._client.log_inputs(made, datasets=run.inputs.dataset_inputs)
            if run.info.status not in ("RUNNING", "SCHEDULED"):
                self._client.set_terminated(
                    made, status=run.info.status, end_time=run.info.end_time
                )
            self._client.set_tag(made, WHOLE, "yes")
        return copy

    def _copied_runs(self) -> dict[str, Any]:
        """Id of the original -> its copy, whole or not."""
        found: dict[str, Any] = {}
        for run in _runs(self):
            origin = run.data.tags.get(ORIGIN)
            if origin is not None and not _is_whole(found.get(origin)):
                found[origin] = run
        return found

    def _remove_doubled(self, kept: set[str]) -> None:
        # MLflow's client repeats a request whose answer was lost, and then there are two.
        with self._reaching("remove runs that came twice"):
            for run in _runs(self):
                if (
                    ORIGIN in run.data.tags
                    and run.info.run_id not in kept
                    and run.info.lifecycle_stage != "deleted"
                ):
                    self._client.delete_run(run.info.run_id)

    def _make_model(self, source: Registry) -> None:
        with source._reaching("read the model"):
            original = source._model()
        if self._model() is None:
            given = (
                {}
                if original is None
                else {"tags": _given(original.tags), "description": original.description}
            )
            self._client.create_registered_model(self.name, **given)

    def _make_version(self, source: Registry, original: Any, runs: dict[str, str]) -> None:
        with source._reaching("find the files of a version"):
            inside = original.source.removeprefix(
                source._client.get_run(original.run_id).info.artifact_uri
            )
        files = f"{self._client.get_run(runs[original.run_id]).info.artifact_uri}{inside}"
        number, made = int(original.version), 0
        while made < number:
            made = int(
                self._client.create_model_version(
                    self.name,
                    source=files,
                    run_id=runs[original.run_id],
                    tags={**_given(original.tags), ORIGIN: _origin(original)},
                    description=original.description,
                ).version
            )
            if made != number:
                self._client.delete_model_version(self.name, str(made))
        if made > number:
            raise RegistryError(
                where=f"model {self.name} at {without_password(self.tracking_uri)}",
                wanted=f"to give the number {number}",
                got=f"{made}: all before were given, some to versions that are deleted",
                then="delete that model there (its runs stay), and migrate again",
            )

    def _use_up_numbers(self, through: int) -> None:
        used = self._model().tags.get(NUMBERS, "0")
        if int(used) >= through:
            return
        made = 0
        while made < through:
            made = int(
                self._client.create_model_version(
                    self.name, source=_NO_FILES, tags={ORIGIN: _GAP}
                ).version
            )
            self._client.delete_model_version(self.name, str(made))
        self._client.set_registered_model_tag(self.name, NUMBERS, str(made))


def check_source(source: Registry, report: Report) -> None:
    """Raise RegistryError when a version cannot be copied as it was registered: its run is gone, or
    its files are not whole.

    What `source` keeps of fetched versions is removed.
    """
    runs = {one.info.run_id: one.info.artifact_uri for one in _runs(source)}
    versions = _versions(source)
    for done, one in enumerate(versions):
        report(done, len(versions))
        if not str(one.source).startswith(runs.get(one.run_id, "no run at all")):
            raise RegistryError(
                where=f"model {source.name} version {one.version}",
                wanted=f"files in a run of experiment {source.name}",
                got=f"{one.source} of run {one.run_id or '-'}",
                then="delete that version here if nobody needs it: its number stays unused",
            )
        if _has_files(one):
            _fetch_once(source, int(one.version))


def _has_files(version: Any) -> bool:
    """False for a version whose files were pruned: its number, tags and run are all that is
    copied."""
    return version.tags.get(STATUS) not in (PRUNING, PRUNED)


def _fetch_once(registry: Registry, number: int) -> None:
    """Fetch a version, which looks at its sha256, and forget it: one version is on this disk at a
    time, not all of them."""
    registry.download(number)
    shutil.rmtree(registry._downloads / registry.name, ignore_errors=True)


def compare_versions(
    one: Registry, other: Registry
) -> tuple[list[VersionFacts], list[VersionFacts]]:
    """What both say of their versions, but for the ids of runs."""
    first, second = (
        [replace(found, run_id="") for found in registry.versions()] for registry in (one, other)
    )
    return first, second


def count_runs(source: Registry) -> int:
    """How many runs a use case has, those that are deleted but not yet gone among them."""
    return len(_runs(source))


def _runs(registry: Registry) -> list[Any]:
    """All runs of the use case's experiment, deleted ones too, oldest first; none while there is no
    experiment."""
    from mlflow.entities import ViewType

    with registry._reaching("list the runs"):
        experiment = registry._client.get_experiment_by_name(registry.name)
        found: list[Any] = []
        token = None if experiment is not None else ""
        while token != "":
            page = registry._client.search_runs(
                [experiment.experiment_id], run_view_type=ViewType.ALL, page_token=token
            )
            found += page
            token = page.token or ""
    return sorted(found, key=lambda run: (run.info.start_time or 0, run.info.run_id))


def _versions(registry: Registry) -> list[Any]:
    with registry._reaching("list the versions"):
        return list(
            registry._client.search_model_versions(f"name='{registry.name}'", max_results=10_000)
        )


def _aliases(registry: Registry) -> dict[str, int]:
    with registry._reaching("read the aliases"):
        model = registry._model()
    return (
        {} if model is None else {alias: int(version) for alias, version in model.aliases.items()}
    )


def _origin(version: Any) -> str:
    return f"{version.run_id}/{version.version}"


def _is_whole(run: Any) -> bool:
    return run is not None and WHOLE in run.data.tags


def _given(tags: dict[str, str]) -> dict[str, str]:
    """All but our own: what is copied may be a copy itself."""
    return {tag: value for tag, value in tags.items() if tag not in (ORIGIN, WHOLE, NUMBERS)}


def _changed(wanted: dict[str, str], there: dict[str, str]) -> dict[str, str]:
    return {tag: value for tag, value in _given(wanted).items() if there.get(tag) != value}


def _digests(registry: Registry) -> dict[int, str]:
    return {int(one.version): one.tags.get(DIGEST, "") for one in _versions(registry)}
