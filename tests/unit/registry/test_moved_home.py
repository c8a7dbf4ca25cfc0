"""A copied home leaves the original's files alone, and a moved one finds its own."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from closedloop.registry.live import ProductionReader
from closedloop.registry.registry import Registry
from closedloop.registry.runs import HAS_FILE, REPORT

pytestmark = pytest.mark.slow

NAME = "shop"


@pytest.fixture
def home(tmp_path: Path, make_mlflow_tables: Callable[[Path], None]) -> Path:
    """A home with spaces in its path, a report and a version in production."""
    home = tmp_path / "a home"
    make_mlflow_tables(home)
    registry = open_registry(home)
    log(registry, "first")
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "facts.json").write_text("{}", encoding="utf-8")
    run = registry.log_run(
        "v", "version", metrics={}, parameters={}, tags={}, files={}, folder=bundle
    )
    registry.promote(registry.register("v", run, {}), instead_of=None, reason="first")
    return home


def open_registry(home: Path) -> Registry:
    return Registry(
        NAME,
        f"sqlite:///{home / 'mlflow.db'}",
        artifacts=home / "artifacts",
        downloads=home / "bundles",
    )


def open_reader(home: Path) -> ProductionReader:
    return ProductionReader(
        NAME,
        f"sqlite:///{home / 'mlflow.db'}",
        artifacts=home / "artifacts",
        downloads=home / "serving",
    )


def log(registry: Registry, key: str) -> str:
    return registry.log_run(
        key, key, metrics={}, parameters={}, tags={HAS_FILE: REPORT}, files={REPORT: f"of {key}"}
    )


def files_in(home: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def addresses_in(home: Path) -> set[str]:
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        tables = ("experiments.artifact_location", "runs.artifact_uri", "model_versions.source")
        return {
            address
            for table, _, column in (name.partition(".") for name in tables)
            for (address,) in connection.execute(f"SELECT {column} FROM {table}")
            if "/artifacts/" in address
        }


def test_work_in_a_copy_leaves_the_original_alone(home: Path, tmp_path: Path) -> None:
    """Reports are read, added and deleted in the copy; the original keeps every byte and goes on
    working. All that MLflow's own page and clients read names the copy, too."""
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    before = files_in(home)
    registry = open_registry(copy)
    added = log(registry, "second")
    assert registry.local_file(added, REPORT) is not None
    assert registry.drop_files(REPORT, keep=0) == 2
    assert not list(copy.rglob(REPORT))
    assert files_in(home) == before
    assert all(address.startswith(f"{copy.as_uri()}/") for address in addresses_in(copy))
    original = open_registry(home)
    assert original.count_files(REPORT) == 1
    assert original.download(1).is_relative_to(home)


def test_the_service_of_a_copy_answers_with_its_own_files(home: Path, tmp_path: Path) -> None:
    """Also as the first thing that is started there; what it notes for a start without MLflow is
    found when the home moves on."""
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    reader = open_reader(copy)
    assert reader.download(1).is_relative_to(copy)
    reader.remember(1)
    moved = copy.rename(tmp_path / "moved on")
    (moved / "mlflow.db").unlink()
    assert open_reader(moved).last_good() == 1
    assert open_reader(moved).open_last_good().is_relative_to(moved)


def test_a_moved_home_finds_its_files(home: Path, tmp_path: Path) -> None:
    """Moved twice, and back to where it was; it says once that it was moved."""
    for place in (tmp_path / "there", tmp_path / "der Ort", home):
        home = home.rename(place)
        registry = open_registry(home)
        assert registry.download(1).is_relative_to(home)
        assert log(registry, place.name)
    assert open_registry(home).count_files(REPORT) == 4


def test_a_file_that_only_the_old_place_has_is_still_found(home: Path, tmp_path: Path) -> None:
    """A copy in which an older version has worked has runs whose files are in the original."""
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    run = open_registry(copy).version(1).run_id
    shutil.rmtree(copy / "artifacts" / NAME / run)
    with closing(sqlite3.connect(copy / "mlflow.db")) as connection, connection:
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("model_versions", "source"),
        ):
            connection.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)",
                (copy.as_uri(), home.as_uri()),
            )
    registry = open_registry(copy)
    assert registry.download(1).is_relative_to(home)
    added = registry.local_file(log(registry, "second"), REPORT)
    assert added is not None
    assert added.is_relative_to(copy)
