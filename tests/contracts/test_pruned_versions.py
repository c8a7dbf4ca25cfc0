"""Versions without their files, and runs without their reports: embedded on SQLite, and through a
real MLflow server over HTTP."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from closedloop.errors import RegistryError
from closedloop.registry.runs import DIGEST, HAS_FILE
from tests.contracts.backends import FACTS, Backend, crashing, log, state


def test_a_pruned_version_keeps_all_but_its_files(backend: Backend, folder: Path) -> None:
    """Its model is gone from the store and from what was fetched here; tags, metrics and evidence
    stay; it can neither be loaded nor go live, and whoever tries is told why. What an alias points
    at is refused."""
    registry = backend.new()
    for number in (1, 2):
        registry.register(
            f"key {number}", log(registry, folder, f"key {number}"), {"window": f"w{number}"}
        )
        registry.promote(number, instead_of=number - 1 or None, reason="better")
    registry.load(1)
    with pytest.raises(RegistryError, match="a version that nothing points at, got previous"):
        registry.prune(1)
    assert registry.load(1).facts == FACTS
    registry._client.delete_registered_model_alias(registry.name, "previous")
    before = registry.version(1)
    for _ in range(2):  # again is no fault
        backend.open(registry.name).prune(1)
    assert registry.version(1) == replace(before, status="pruned")
    assert [
        path
        for path in backend.files.rglob("*")
        if before.run_id in path.parts and path.name == "facts.json"
    ] == []
    assert [path.name for path in (backend.home / "bundles" / registry.name).glob("1-*")] == []
    assert registry.read_file(1, "evidence.json") == "{}"
    assert registry._client.get_run(before.run_id).data.metrics == {"val_auc": 0.75}
    for attempt in (
        registry.load,
        registry.loadable,
        lambda number: registry.promote(number, instead_of=2, reason=""),
        lambda number: registry.roll_back(number, instead_of=2, reason=""),
    ):
        with pytest.raises(
            RegistryError, match="version 1: wanted its files, got none, its files were pruned"
        ):
            attempt(1)
    assert state(registry) == (2, None, ("pruned", "production"))
    assert registry.load(2).facts == FACTS


def test_a_changed_note_of_the_sha256_leads_pruning_nowhere(
    embedded: Backend, folder: Path
) -> None:
    """A tag in the registry is no path: what lies where it leads stays, the version's files go."""
    registry = embedded.new()
    number = registry.register("a key", log(registry, folder), {})
    downloads = embedded.home / "bundles" / registry.name
    (downloads / f"{number}-{'0' * 16}").mkdir(parents=True)
    victim = embedded.home / "bundles" / "vict"
    (downloads / f"{number}-").mkdir()
    victim.mkdir()
    registry._client.set_model_version_tag(
        registry.name, str(number), DIGEST, "/../../vict" + "/" * 5
    )
    registry.prune(number)
    assert victim.exists()
    assert [path.name for path in downloads.iterdir()] == [f"{number}-"]
    assert registry.version(number).status == "pruned"


def test_pruning_repeated_after_a_crash_anywhere_ends_alike(backend: Backend, folder: Path) -> None:
    """For every call to MLflow: a crash just before it leaves a version that is whole, or one that
    says that it is not."""
    registry = backend.new()
    log(registry, None, "makes the experiment")
    for calls in count():
        number = registry.register(f"key {calls}", log(registry, folder, f"key {calls}"), {})
        try:
            crashing(backend, registry.name, calls).prune(number)
        except RegistryError:
            if registry.version(number).status == "candidate":
                assert registry.load(number).facts == FACTS
            else:
                with pytest.raises(RegistryError, match="its files were pruned"):
                    registry.load(number)
            backend.open(registry.name).prune(number)
        else:
            break
        assert registry.version(number).status == "pruned"
    assert registry.version(number).status == "pruned"
    assert calls > 2


def test_reports_are_counted_and_dropped_beyond_those_that_stay(backend: Backend) -> None:
    """The newest keep their file, the others lose it and are not counted any more."""
    registry = backend.new()
    runs = [
        log(
            registry,
            None,
            f"turn {number}",
            tags={HAS_FILE: "report.html"},
            files={"report.html": "a page"},
        )
        for number in range(3)
    ]
    assert registry.count_files("report.html") == 3
    assert registry.drop_files("report.html", keep=1) == 2
    assert (registry.count_files("report.html"), registry.drop_files("report.html", keep=1)) == (
        1,
        0,
    )
    kept = [run for run in runs if registry._client.list_artifacts(run)]
    assert len(kept) == 1
    assert [run for run in runs if not registry.is_pruned(run)] == kept


def test_a_run_that_was_deleted_is_known_to_be_pruned(backend: Backend) -> None:
    """Also when MLflow has removed it for good; a run without such a file is not."""
    registry = backend.new()
    there, deleted = log(registry, None, "kept"), log(registry, None, "deleted")
    registry._client.delete_run(deleted)
    assert not registry.is_pruned(there)
    assert registry.is_pruned(deleted)
    assert registry.is_pruned("0" * 32)
