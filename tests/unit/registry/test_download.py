"""Downloaded versions: what a server needs stays, the rest goes, whoever else is at it."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from closedloop.bundle.files import model_digest, write_manifest
from closedloop.errors import RegistryError
from closedloop.registry.download import download_files, remove_downloads

REMOTE = "mlflow-artifacts:/1/model"


def write_files(folder: Path, number: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.skops").write_text(f"model {number}", encoding="utf-8")
    (folder / "facts.json").write_text("facts", encoding="utf-8")
    write_manifest(folder)
    return folder


@pytest.fixture
def get(tmp_path: Path) -> Callable[[int], Path]:
    """Download a version from a store that has every number."""

    def get(number: int) -> Path:
        digest = model_digest(write_files(tmp_path / "stores" / os.urandom(8).hex(), number))
        return download_files(
            REMOTE,
            number,
            digest,
            into=tmp_path / "kept",
            download=lambda _, to: write_files(to, number),
        )

    return get


def asked_in_order(folders: list[Path]) -> None:
    """As if each had been asked for a minute after the one before, long ago."""
    for minute, folder in enumerate(folders):
        os.utime(folder, (60 * minute, 60 * minute))


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_needed_and_one_more_stay(get: Callable[[int], Path], tmp_path: Path) -> None:
    """Of five versions those that are needed stay, however old, and of the others the one that was
    asked for last."""
    folders = [get(number) for number in (1, 2, 3, 4, 5)]
    asked_in_order(folders)
    remove_downloads(tmp_path / "kept", [folders[0], folders[2]])
    assert left(tmp_path / "kept") == {folders[place].name for place in (0, 2, 4)}


def test_a_version_that_is_asked_for_again_counts_as_the_newest(
    get: Callable[[int], Path], tmp_path: Path
) -> None:
    """What another process has just loaded from disk is the one more that stays, though it was
    downloaded first."""
    folders = [get(number) for number in (1, 2, 3)]
    asked_in_order(folders)
    get(1)
    remove_downloads(tmp_path / "kept", [folders[2]])
    assert left(tmp_path / "kept") == {folders[0].name, folders[2].name}


def test_nothing_but_downloaded_versions_is_deleted(
    get: Callable[[int], Path], tmp_path: Path
) -> None:
    """The memory of the last good version, a download that is under way and what somebody put there
    stay; what a killed process had begun to delete goes."""
    folders = [get(number) for number in (1, 2, 3)]
    kept = tmp_path / "kept"
    (kept / "last_good.json").write_text("{}", encoding="utf-8")
    for name in ("downloading-abc", "notes", "leaving-7-0123456789abcdef-00"):
        write_files(kept / name, 9)
    remove_downloads(kept, folders[:2])
    assert left(kept) == {
        "last_good.json",
        "downloading-abc",
        "notes",
        *(folder.name for folder in folders),
    }
    remove_downloads(tmp_path / "never made", [])


def test_a_deleted_version_is_downloaded_anew(get: Callable[[int], Path], tmp_path: Path) -> None:
    """A rollback to what was deleted costs a download and nothing else."""
    first = get(1)
    digest = model_digest(first)
    asked_in_order([first, get(2), get(3)])
    remove_downloads(tmp_path / "kept", [])
    assert not first.exists()
    assert model_digest(get(1)) == digest


def test_many_may_fetch_and_delete_at_once(get: Callable[[int], Path], tmp_path: Path) -> None:
    """While workers of one folder load and delete, whoever is given a folder was given whole files
    or the one refusal that is tried again; in the end no half of anything is left."""
    workers, turns = 4, 25
    barrier = Barrier(workers, timeout=60)

    def work(worker: int) -> int:
        given = 0
        barrier.wait()
        for turn in range(turns):
            try:
                folder = get((worker + turn) % 6)
            except RegistryError:  # deleted between the download and the last look
                continue
            remove_downloads(tmp_path / "kept", [folder])
            given += 1
        return given

    with ThreadPoolExecutor(workers) as pool:
        given = list(pool.map(work, range(workers)))
    assert sum(given) > workers * turns // 2
    last = get(0)
    remove_downloads(tmp_path / "kept", [last])
    assert len(left(tmp_path / "kept")) <= 2
    for folder in (tmp_path / "kept").iterdir():
        number = folder.name.partition("-")[0]
        assert folder.name == f"{number}-{model_digest(folder)[:16]}"
