"""A registry is filled from another one: whatever cut it off, whatever came twice, and whatever the
original did since."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from closedloop.bundle.files import model_digest
from closedloop.errors import ModelError, RegistryError
from closedloop.operations.moving.registry_contents import (
    check_source,
    count_runs,
    describe_versions,
)
from closedloop.operations.moving.registry_copy import RegistryCopy
from closedloop.registry.registry import Registry
from closedloop.registry.search_runs import PARENT, SearchRuns
from tests.contracts.backends import Backend, log
from tests.mlflow_in_memory import CrashingClient

READING = ("get_", "search_", "list_", "download_")
ENOUGH = 10_000  # calls: more than any copy takes


def silent(_done: int, _size: int) -> None:
    """Nobody watches."""


def original(backend: Backend, folder: Path) -> Registry:
    """Two versions with files, the number between them deleted, the newest number deleted, too; a
    run without files that was cut off."""
    registry = backend.new()
    for number in (1, 3):
        run = log(registry, folder, f"key {number}")
        registry.register(f"key {number}", run, {"window": f"w{number}"})
        registry.register("gone", run, {})
        registry._client.delete_model_version(registry.name, str(number + 1))
    registry._client.create_run(registry._experiment(), tags={"closedloop.key": "cut off"})
    registry.promote(1, instead_of=None, reason="first")
    registry.promote(3, instead_of=1, reason="better")
    return registry


def copy_of(
    backend: Backend, source: Registry, name: str, tmp_path: Path, calls: int = ENOUGH
) -> RegistryCopy:
    """Where `source` is copied to: a model of another name beside it, so that one MLflow does; cut
    off after so many calls that write."""
    copy = RegistryCopy(
        f"{source.name}-{name}",
        backend.uri,
        artifacts=backend.home / "artifacts",
        downloads=tmp_path,
    )
    copy._client_made = CrashingWriter(copy._client, calls)
    return copy


class CrashingWriter(CrashingClient):
    """What only reads always works."""

    def __getattr__(self, name: str) -> Any:
        return (
            getattr(self._client, name) if name.startswith(READING) else super().__getattr__(name)
        )


def fill(copy: RegistryCopy, source: Registry, through: int = 4) -> None:
    """All of it, in the order of a migration."""
    runs = copy.copy_runs(source, silent)
    copy.copy_versions(source, runs, through, silent)
    copy.check_files(source, silent)
    copy.copy_aliases(source)


def assert_filled(copy: RegistryCopy, source: Registry) -> None:
    """As many runs and the same versions as in the original, and nothing left to do."""
    here, there = describe_versions(source), describe_versions(copy)
    assert here == there
    assert (copy.production(), copy.previous()) == (source.production(), source.previous())
    assert copy.count_runs(source) == count_runs(source)
    assert [run.info.lifecycle_stage for run in all_runs(copy)] == [
        run.info.lifecycle_stage for run in all_runs(source)
    ]
    assert [run.info.status for run in all_runs(copy)] == [
        run.info.status for run in all_runs(source)
    ]
    assert not any(vars(copy.left_to_copy(source)).values())


def all_runs(registry: Registry) -> list[Any]:
    from mlflow.entities import ViewType

    found = registry._client.search_runs([registry._experiment()], run_view_type=ViewType.ALL)
    return sorted(
        found,
        key=lambda run: (
            run.info.start_time,
            run.data.tags.get("closedloop.migrated_from", run.info.run_id),
        ),
    )


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(3, id="each third call"),
        pytest.param(1, id="each call", marks=pytest.mark.nightly),
    ],
)
def test_cut_off_before_any_call_it_is_finished_by_the_next_one(
    embedded: Backend, folder: Path, tmp_path: Path, step: int
) -> None:
    """Whichever call to MLflow is the first that fails, the same copy made again is that of an
    undisturbed one, and nothing is there twice; until the last calls nothing is in production."""
    source = original(embedded, folder)
    whole = copy_of(embedded, source, "whole", tmp_path)
    fill(whole, source)
    needed = ENOUGH - whole._client.left
    assert needed > 20, "too few calls are watched"
    assert_filled(whole, source)
    # The first run, and all that comes after the last one: the runs between are copied like the
    # first.
    for calls in [*range(7), *range(needed - 11, needed)][::-step]:
        cut = copy_of(embedded, source, f"cut-{calls}", tmp_path, calls)
        with pytest.raises(RegistryError, match="cut off here"):
            fill(cut, source)
        assert cut.production() is None, f"in production after {calls} of {needed} calls"
        cut._client.left = ENOUGH
        fill(cut, source)
        assert_filled(cut, source)
        following = cut.register("next", cut.version(1).run_id, {})
        assert following >= 5, f"after {calls} calls number {following} is given anew"


@pytest.mark.parametrize("doubled", ["create_run", "create_model_version"])
def test_a_request_that_was_repeated_makes_nothing_twice(
    embedded: Backend, folder: Path, tmp_path: Path, doubled: str
) -> None:
    """MLflow's client asks again when an answer is lost: a run that came twice is deleted; a
    version number that is lost is said, and the model made anew on the target."""
    source = original(embedded, folder)
    copy = copy_of(embedded, source, "doubled", tmp_path)
    asked = getattr(copy._client_made._client, doubled)

    def ask_twice(*given: Any, **named: Any) -> Any:
        asked(*given, **named)
        return asked(*given, **named)

    copy._client_made._client = Repeating(copy._client_made._client, doubled, ask_twice)
    if doubled == "create_model_version":
        with pytest.raises(
            RegistryError,
            match=r"wanted the next version to be number 1, got 2: .* delete that model there",
        ):
            fill(copy, source)
        copy._client.delete_registered_model(copy.name)
    else:
        fill(copy, source)
    copy._client_made._client = copy._client_made._client.client
    fill(copy, source)
    assert copy.count_runs(source) == count_runs(source)
    assert sum(run.info.lifecycle_stage == "active" for run in all_runs(copy)) == count_runs(source)
    here, there = describe_versions(source), describe_versions(copy)
    assert here == there


class Repeating:
    """Another client, one method of which is another."""

    def __init__(self, client: Any, name: str, instead: Any) -> None:
        self.client, self._name, self._instead = client, name, instead

    def __getattr__(self, name: str) -> Any:
        return self._instead if name == self._name else getattr(self.client, name)


def test_versions_from_elsewhere_are_refused(
    embedded: Backend, folder: Path, tmp_path: Path
) -> None:
    """A target that has a version of its own is not touched, and one that holds only copies is
    nobody else's."""
    source = original(embedded, folder)
    copy = copy_of(embedded, source, "foreign", tmp_path)
    copy.refuse_foreign(source)
    fill(copy, source)
    copy.refuse_foreign(source)
    copy.register("its own", log(copy, None, "bare", files={}, data=None), {})
    with pytest.raises(RegistryError, match="got version 5, made elsewhere"):
        copy.refuse_foreign(source)


def test_what_the_original_did_since_comes_along(
    embedded: Backend, folder: Path, tmp_path: Path
) -> None:
    """A copy that is made again takes new versions, changed tags, moved aliases and those that are
    gone; a copy of it does, too."""
    source = original(embedded, folder)
    first = copy_of(embedded, source, "since", tmp_path)
    fill(first, source)
    assert source.register("key 5", log(source, folder, "key 5"), {"window": "w5"}) == 5
    source.roll_back(1, instead_of=3, reason="worse")
    assert vars(first.left_to_copy(source)) == {"runs": 1, "versions": 1, "changes": 6}
    fill(first, source, through=5)
    assert_filled(first, source)
    second = copy_of(embedded, first, "again", tmp_path)
    fill(second, first, through=5)
    assert_filled(second, first)


def test_the_trials_of_a_search_stay_below_it(embedded: Backend, tmp_path: Path) -> None:
    """The run of a search has another id in the copy, and its trials name that one."""
    source = embedded.new()
    runs = SearchRuns(
        source.name, embedded.uri, artifacts=embedded.home / "artifacts", tried=tmp_path
    )
    parent = runs.begin("search", "search", {}, {})
    trial = runs.begin("trial", "trial", {"C": 1}, {}, parent=parent)
    copies = copy_of(embedded, source, "search", tmp_path).copy_runs(source, silent)
    copied = source._client.get_run(copies[trial]).data
    assert (copied.tags[PARENT], copied.params) == (copies[parent], {"C": "1"})


def test_what_cannot_be_copied_whole_is_said_before(
    embedded: Backend, folder: Path, tmp_path: Path
) -> None:
    """A version whose files were changed or whose run is gone is named with what to do; nothing has
    been copied then."""
    source = embedded.new()
    source.register("key", log(source, folder), {})
    check_source(source, silent)
    run = source.version(1).run_id
    for path in embedded.files.rglob("model/facts.json"):
        if run in path.parts:
            path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
    shutil.rmtree(embedded.home / "bundles" / source.name, ignore_errors=True)
    with pytest.raises(ModelError, match="wanted files with sha256"):
        check_source(source, silent)
    source._client.delete_model_version(source.name, "1")
    check_source(source, silent)
    source._client.create_model_version(source.name, source="s3://somewhere/else", run_id=run)
    with pytest.raises(
        RegistryError, match=r"version 2: wanted files in a run .* delete that version here"
    ):
        check_source(source, silent)


def test_a_server_may_be_the_original(server: Backend, folder: Path, tmp_path: Path) -> None:
    """Files that are not on this machine are fetched and handed on, name by name and byte by
    byte."""
    source = server.new()
    source.register("key", log(source, folder), {})
    copy = copy_of(server, source, "copy", tmp_path)
    fill(copy, source, through=1)
    assert_filled(copy, source)
    assert copy.read_file(1, "evidence.json") == source.read_file(1, "evidence.json") == "{}"
    assert model_digest(copy.download(1)) == model_digest(folder)
    assert [file.path for file in copy._client.list_artifacts(copy.version(1).run_id, "plots")] == [
        "plots/roc.png"
    ]


def test_a_pruned_version_comes_along_without_files(
    embedded: Backend, folder: Path, tmp_path: Path
) -> None:
    """Its number, status and tags are copied; nothing is fetched for it, here or there, and those
    that have files are looked at as ever."""
    source = original(embedded, folder)
    run = log(source, folder, "key 5")
    number = source.register("key 5", run, {"window": "w5"})
    source.reject(number, reason="worse")
    source.prune(number)
    check_source(source, silent)
    copy = copy_of(embedded, source, "pruned", tmp_path)
    fill(copy, source)
    assert_filled(copy, source)
    assert copy.version(number).status == "pruned"
    assert copy.check_files(source, silent) == 2
