"""Copies a use case from one MLflow to another: runs with their files, versions under their own
numbers, and finally the aliases.

Each copy is tagged with its original, so that interrupted work continues and nothing is made twice.
MLflow chooses run ids, and counts version numbers up without ever reusing one, even of a deleted
version. So a gap in the numbers is reproduced by creating a version and deleting it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from closedloop.errors import RegistryError
from closedloop.operations.moving.registry_contents import (
    NUMBERS,
    ORIGIN,
    WHOLE,
    changed_tags,
    count_runs,
    fetch_once,
    has_files,
    is_whole,
    list_runs,
    list_versions,
    origin_of,
    own_tags,
    read_aliases,
    read_digests,
)
from closedloop.operations.progress import OnProgress
from closedloop.registry.mlflow_client import without_password
from closedloop.registry.registry import Registry
from closedloop.registry.search_runs import PARENT
from closedloop.registry.versions import PRODUCTION

_GAP, _NO_FILES = "a deleted version", "deleted:/version"


@dataclass(frozen=True)
class LeftToCopy:
    """What the copy lacks: runs, versions, and `changes` of tags and aliases."""

    runs: int
    versions: int
    changes: int


class RegistryCopy(Registry):
    """The MLflow that is copied to. Its methods only read `source` and can be repeated."""

    def refuse_foreign(self, source: Registry) -> None:
        """Raise RegistryError when a version here is not a copy of one in `source`."""
        known = {origin_of(version) for version in list_versions(source)} | {_GAP}
        foreign = [
            str(version.version)
            for version in list_versions(self)
            if version.tags.get(ORIGIN) not in known
        ]
        if foreign:
            raise RegistryError(
                where=f"model {self.name} at {without_password(self.tracking_uri)}",
                wanted="only copies of the versions here",
                got=f"version {', '.join(foreign)}, made elsewhere",
                then="choose another MLflow server, or delete that model there; nothing "
                "was written",
            )

    def left_to_copy(self, source: Registry) -> LeftToCopy:
        """What the methods below would do now. Writes nothing, creates no experiment."""
        there = {int(version.version): version.tags for version in list_versions(self)}
        found = {int(version.version): version.tags for version in list_versions(source)}
        changed = sum(
            len(changed_tags(tags, there[number]))
            for number, tags in found.items()
            if number in there
        )
        wanted, live = read_aliases(source), read_aliases(self)
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

    def copy_runs(self, source: Registry, report: OnProgress) -> dict[str, str]:
        """Copy every run with its files, finish interrupted copies; returns original id -> copy.

        Name, times, status, metrics, parameters, tags and inputs stay the same; a deleted run is
        deleted here, too.
        """
        copies, runs = self._copied_runs(), list_runs(source)
        for done, run in enumerate(runs):
            report(done, len(runs))
            copy = copies.get(run.info.run_id)
            if copy is None or not is_whole(copy):
                copy = self._copy_run(source, run, copy, copies)
            if run.info.lifecycle_stage == "deleted" != copy.info.lifecycle_stage:
                with self._reaching("delete a run"):
                    self._client.delete_run(copy.info.run_id)
            copies[run.info.run_id] = copy
        self._remove_duplicates({copy.info.run_id for copy in copies.values()})
        return {origin: str(copy.info.run_id) for origin, copy in copies.items()}

    def copy_versions(
        self, source: Registry, runs: dict[str, str], through: int, report: OnProgress
    ) -> None:
        """Copy every version under its own number, and update the tags of those already here.

        `runs` is the result of `copy_runs`. Numbers up to `through` are never given to a later
        version, even if the last ones were deleted. Raises RegistryError when a number is already
        used up here.
        """
        originals = sorted(list_versions(source), key=lambda version: int(version.version))
        with self._reaching("copy the versions"):
            self._make_model(source)
            for version in list_versions(self):
                number = str(version.version)
                # Left over from making a gap that was interrupted.
                if version.tags.get(ORIGIN, _GAP).rpartition("/")[2] != number:
                    self._client.delete_model_version(self.name, number)
            there = {int(version.version): version.tags for version in list_versions(self)}
            for done, original in enumerate(originals):
                report(done, len(originals))
                tags = there.get(int(original.version))
                if tags is None:
                    self._make_version(source, original, runs)
                    continue
                for tag, value in changed_tags(original.tags, tags).items():
                    self._client.set_model_version_tag(self.name, str(original.version), tag, value)
            if through > max((int(original.version) for original in originals), default=0):
                self._use_up_numbers(through)

    def check_files(self, source: Registry, report: OnProgress) -> int:
        """Download every version that has files from here; returns their number.

        Raises RegistryError when files differ from those registered in `source`.
        """
        there, digests = read_digests(self), read_digests(source)
        if there != digests:
            raise RegistryError(
                where=f"model {self.name} at {without_password(self.tracking_uri)}",
                wanted="the sha256 of the versions here",
                got="others",
                then="they were changed meanwhile: migrate again",
            )
        versions = [version for version in list_versions(self) if has_files(version)]
        for done, version in enumerate(versions):
            report(done, len(versions))
            fetch_once(self, int(version.version))
        return len(versions)

    def copy_aliases(self, source: Registry) -> None:
        """Set every alias as in `source`, `production` last, and remove the others."""
        wanted, live = read_aliases(source), read_aliases(self)
        with self._reaching("move the aliases"):
            for alias in sorted({*wanted, *live}, key=lambda name: (name == PRODUCTION, name)):
                if alias not in wanted:
                    self._client.delete_registered_model_alias(self.name, alias)
                elif wanted[alias] != live.get(alias):
                    self._client.set_registered_model_alias(self.name, alias, str(wanted[alias]))

    def count_runs(self, source: Registry) -> int:
        """How many runs of `source` are completely copied."""
        copies = self._copied_runs()
        return sum(is_whole(copies.get(run.info.run_id)) for run in list_runs(source))

    def _copy_run(self, source: Registry, run: Any, copy: Any, copies: dict[str, Any]) -> Any:
        from mlflow.entities import Metric, Param

        with source._reaching("read a run"):
            histories = [
                source._client.get_metric_history(run.info.run_id, name)
                for name in run.data.metrics
            ]
        metrics = [
            Metric(metric.key, metric.value, metric.timestamp, metric.step)
            for history in histories
            for metric in history
        ]
        parameters = [Param(name, value) for name, value in run.data.params.items()]
        with tempfile.TemporaryDirectory() as folder, self._reaching("copy a run"):
            if copy is None:
                tags = {**own_tags(run.data.tags), ORIGIN: run.info.run_id}
                if (parent := copies.get(tags.get(PARENT, ""))) is not None:  # it began earlier
                    tags[PARENT] = parent.info.run_id
                copy = self._client.create_run(
                    self._experiment(),
                    start_time=run.info.start_time,
                    run_name=run.info.run_name,
                    tags=tags,
                )
            made = copy.info.run_id
            if metrics or parameters:
                self._client.log_batch(made, metrics=metrics, params=parameters)
            with source._reaching("read the files of a run"):
                files = source.all_files(run, Path(folder))
            if any(files.rglob("*")):
                self._upload(copy, str(files))
            if run.inputs.dataset_inputs:
                self._client.log_inputs(made, datasets=run.inputs.dataset_inputs)
            if run.info.status not in ("RUNNING", "SCHEDULED"):
                self._client.set_terminated(
                    made, status=run.info.status, end_time=run.info.end_time
                )
            self._client.set_tag(made, WHOLE, "yes")
        return copy

    def _copied_runs(self) -> dict[str, Any]:
        """Id of the original -> its copy, complete or not."""
        found: dict[str, Any] = {}
        for run in list_runs(self):
            origin = run.data.tags.get(ORIGIN)
            if origin is not None and not is_whole(found.get(origin)):
                found[origin] = run
        return found

    def _remove_duplicates(self, kept: set[str]) -> None:
        # MLflow's client repeats a request when the answer is lost, which makes two runs.
        with self._reaching("delete duplicate runs"):
            for run in list_runs(self):
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
                else {"tags": own_tags(original.tags), "description": original.description}
            )
            self._client.create_registered_model(self.name, **given)

    def _make_version(self, source: Registry, original: Any, runs: dict[str, str]) -> None:
        with source._reaching("find the files of a version"):
            inside = source._check_place(original.source).removeprefix(
                source._place_of(source._client.get_run(original.run_id))
            )
        files = f"{self._place_of(self._client.get_run(runs[original.run_id]))}{inside}"
        number, made = int(original.version), 0
        while made < number:
            made = int(
                self._client.create_model_version(
                    self.name,
                    source=files,
                    run_id=runs[original.run_id],
                    tags={**own_tags(original.tags), ORIGIN: origin_of(original)},
                    description=original.description,
                ).version
            )
            if made != number:
                self._client.delete_model_version(self.name, str(made))
        if made > number:
            raise RegistryError(
                where=f"model {self.name} at {without_password(self.tracking_uri)}",
                wanted=f"the next version to be number {number}",
                got=f"{made}: lower numbers are used up, some by deleted versions",
                then="delete that model there (its runs stay) and migrate again",
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
