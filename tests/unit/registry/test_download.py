"""Fetched versions: what a server needs stays, the rest goes, whoever else is at it."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from closedloop.bundle.files import model_digest
from closedloop.errors import RegistryError
from closedloop.registry.download import fetch_files, kept_name, remove_fetched

REMOTE = "mlflow-artifacts:/1/model"


def write_files(folder: Path, number: int) -> Path:
    (folder / "inside").mkdir(parents=True)
    (folder / "model").write_text(f"model {number}", encoding="utf-8")
    (folder / "inside" / "more").write_text("more", encoding="utf-8")
    return folder


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[[int], Path]:
    """Fetch a version from a store that has every number."""

    def fetch(number: int) -> Path:
        digest = model_digest(write_files(tmp_path / "stores" / os.urandom(8).hex(), number))
        kept = tmp_path / "kept" / kept_name(number, digest)
        return fetch_files(
            REMOTE,
            f"version {number}",
            digest,
            kept=kept,
            download=lambda _, to: write_files(to / "files", number),
        )

    return fetch


def asked_in_order(folders: list[Path]) -> None:
    """As if each had been asked for a minute after the one before, long ago."""
    for minute, folder in enumerate(folders):
        os.utime(folder, (60 * minute, 60 * minute))


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_needed_and_one_more_stay(fetch: Callable[[int], Path], tmp_path: Path) -> None:
    """Of five versions those that are needed stay, however old, and of the others the one that was
    asked for last."""
    folders = [fetch(number) for number in (1, 2, 3, 4, 5)]
    asked_in_order(folders)
    remove_fetched(tmp_path / "kept", [folders[0], folders[2]])
    assert left(tmp_path / "kept") == {folders[place].name for place in (0, 2, 4)}


def test_a_version_that_is_asked_for_again_counts_as_the_newest(
    fetch: Callable[[int], Path], tmp_path: Path
) -> None:
    """What another process has just loaded from disk is the one more that stays, though it was
    fetched first."""
    folders = [fetch(number) for number in (1, 2, 3)]
    asked_in_order(folders)
    fetch(1)
    remove_fetched(tmp_path / "kept", [folders[2]])
    assert left(tmp_path / "kept") == {folders[0].name, folders[2].name}


def test_nothing_but_fetched_versions_is_deleted(
    fetch: Callable[[int], Path], tmp_path: Path
) -> None:
    """The memory of the last good version, a download that is under way and what somebody put there
    stay; what a killed process had begun to delete goes."""
    folders = [fetch(number) for number in (1, 2, 3)]
    kept = tmp_path / "kept"
    (kept / "last_good.json").write_text("{}", encoding="utf-8")
    for name in ("fetching-abc", "notes", "leaving-7-0123456789abcdef-00"):
        write_files(kept / name, 9)
    remove_fetched(kept, folders[:2])
    assert left(kept) == {
        "last_good.json",
        "fetching-abc",
        "notes",
        *(folder.name for folder in folders),
    }
    remove_fetched(tmp_path / "never made", [])


def test_a_deleted_version_is_fetched_anew(fetch: Callable[[int], Path], tmp_path: Path) -> None:
    """A rollback to what was deleted costs a download and nothing else."""
    first = fetch(1)
    digest = model_digest(first)
    asked_in_order([first, fetch(2), fetch(3)])
    remove_fetched(tmp_path / "kept", [])
    assert not first.exists()
    assert model_digest(fetch(1)) == digest


def test_many_may_fetch_and_delete_at_once(fetch: Callable[[int], Path], tmp_path: Path) -> None:
    """While workers of one folder load and delete, whoever is given a folder was given whole files
    or the one refusal that is tried again; in the end no half of anything is left."""
    workers, turns = 4, 25
    barrier = Barrier(workers, timeout=60)

    def work(worker: int) -> int:
        given = 0
        barrier.wait()
        for turn in range(turns):
            try:
                folder = fetch((worker + turn) % 6)
            except RegistryError:  # deleted between the download and the last look
                continue
            remove_fetched(tmp_path / "kept", [folder])
            given += 1
        return given

    with ThreadPoolExecutor(workers) as pool:
        given = list(pool.map(work, range(workers)))
    assert sum(given) > workers * turns // 2
    last = fetch(0)
    remove_fetched(tmp_path / "kept", [last])
    assert len(left(tmp_path / "kept")) <= 2
    for folder in (tmp_path / "kept").iterdir():
        assert folder.name == kept_name(int(folder.name.partition("-")[0]), model_digest(folder))
