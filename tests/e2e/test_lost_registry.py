"""MLflow's database or files are lost or swapped on a real installation, or its journal is written
by somebody else: every command says so, and the API answers with its last good version."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from closedloop.cli.examine.findings import Finding, examine
from closedloop.cli.service import build_service
from closedloop.cli.status_view import read_status
from closedloop.decisions.checks import Action
from closedloop.errors import ModelError, RegistryError, StoreError
from closedloop.settings import Settings
from closedloop.turn.begin_anew import accept_as_it_is
from closedloop.turn.move_by_hand import promote_by_hand
from closedloop.windows.synthetic import generate_windows, write_generated
from tests.e2e.small_loop import LOGISTIC, REPOSITORY, Place, look, train, write_loop

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def living(
    tmp_path_factory: pytest.TempPathFactory, make_mlflow_tables: Callable[[Path], None]
) -> Place:
    """Version 1 and then 2 were promoted, and the API answered with 2."""
    folder = tmp_path_factory.mktemp("living")
    make_mlflow_tables(folder / "home")
    path = folder / "case" / "loop.toml"
    path.parent.mkdir(parents=True)
    write_loop(path, LOGISTIC)
    shutil.copy(REPOSITORY / "data/iris/golden.json", path.parent)
    place = Place(
        Settings(home=folder / "home", data=None, database_url=None, mlflow_url=None), path
    )
    loop = place.open()
    write_generated(loop.use_case, None, generate_windows("iris", 2))
    train(loop, "window_0", look(loop, "window_0"))
    train(loop, "window_1")
    look(loop, "window_1")
    assert ask(place) == (200, 2, None)
    return place


@pytest.fixture
def place(living: Place, tmp_path: Path) -> Place:
    """A copy of the installation, with files of its own."""
    shutil.copytree(living.settings.home_folder, tmp_path / "home")
    return replace(living, settings=living.settings.model_copy(update={"home": tmp_path / "home"}))


def with_mlflow(place: Place, database: Path) -> Place:
    """The installation with another database of MLflow, as if its own had been replaced: MLflow
    keeps an open one open while this process lives."""
    settings = place.settings.model_copy(update={"mlflow_url": f"sqlite:///{database}"})
    return replace(place, settings=settings)


def ask(place: Place) -> tuple[int, int, str | None]:
    """Start the API: the status of an answer, its version, and the reason in /ready."""
    loop = place.open()
    row = dict.fromkeys(loop.use_case.columns, 1.0)
    with TestClient(
        build_service(loop.use_case, place.settings, "testserver", "here", "now")
    ) as client:
        answer, ready = client.post("/predict", json={"rows": [row]}), client.get("/ready").json()
        return answer.status_code, answer.json().get("version", 0), ready["reason"]


def find(place: Place, check: str) -> Finding:
    findings: tuple[Any, ...] = examine(place.settings, place.path, {})
    return next(finding for finding in findings if finding.check == check)


def test_without_its_database_a_training_begins_anew_and_the_api_goes_on(
    place: Place, tmp_path: Path, make_mlflow_tables: Callable[[Path], None]
) -> None:
    """doctor, status and every turn name the decision whose version is gone. The training makes a
    first version, number 1, which old decisions on a version 1 do not stand for; after it all is
    well, and the same commands decide nothing new."""
    place = with_mlflow(place, tmp_path / "new" / "mlflow.db")
    code, version, reason = ask(place)
    assert (code, version) == (200, 2)
    assert "nothing is in production any more; version 2 stays live" in str(reason)
    make_mlflow_tables(tmp_path / "new")
    loop = place.open()
    lost = r"wanted version 2 \(sha256 \w{12}\), as decision 4 left it in production, got no model"
    with pytest.raises(RegistryError, match=lost):
        look(loop, "window_1")
    assert "got no model" in str(read_status(loop, {})["disagreement"])
    finding = find(place, "production")
    assert (finding.ok, "closedloop train" in finding.then) == (False, True)

    made = train(loop, "window_1")
    assert (made.decision.action, made.decision.version, made.outcome) == ("promote", 1, "done")
    assert made.production is None, "judged as a first model"
    assert find(place, "production").ok
    known = loop.journal.history("iris")
    assert [entry.decision.action for entry in known][-3:] == ["accept", "retrain", "promote"]
    assert train(loop, "window_1") == made
    assert len(loop.journal.history("iris")) == len(known)
    assert look(loop, "window_1").decision.action is not Action.PROMOTE
    assert ask(place) == (200, 1, None)


@pytest.mark.nightly
def test_a_database_from_elsewhere_is_not_followed_until_it_is_accepted(
    place: Place, tmp_path: Path, make_mlflow_tables: Callable[[Path], None]
) -> None:
    """Another home with the same use case and the same windows: the same numbers, the same keys,
    other files. No turn and no command by hand goes on; the API, also a restarted one, answers with
    the files that it had."""
    make_mlflow_tables(tmp_path / "other")
    settings = place.settings.model_copy(update={"home": tmp_path / "other"})
    other = replace(place, settings=settings).open()
    train(other, "window_0")
    train(other, "window_1")
    place = with_mlflow(place, tmp_path / "other" / "mlflow.db")
    loop = place.open()
    for command in (lambda: look(loop, "window_1"), lambda: train(loop, "window_1")):
        with pytest.raises(RegistryError, match=r"got another version 2 \(sha256"):
            command()
    with pytest.raises(RegistryError, match="closedloop accept"):
        promote_by_hand(loop, 1)
    assert not find(place, "production").ok
    code, version, reason = ask(place)
    assert (code, version) == (200, 2)
    assert "left it in production, got other files" in str(reason)
    assert accept_as_it_is(loop).decision.version == 2
    assert find(place, "production").ok
    assert ask(place) == (200, 2, None)


@pytest.mark.nightly
def test_without_the_files_a_training_brings_new_ones_and_the_api_keeps_its_own(
    place: Place,
) -> None:
    """A second look does not repeat that all was promoted; the training makes a version of its own
    instead of finding the one whose files are gone."""
    place.open().registry.ping()  # the copy finds its own files
    shutil.rmtree(place.settings.artifacts_folder / "iris")
    assert ask(place) == (200, 2, None)
    loop = place.open()
    with pytest.raises(ModelError, match="closedloop train"):
        look(loop, "window_1")
    assert not find(place, "production").ok
    made = train(loop, "window_1")
    assert (made.decision.action, made.decision.version) == (Action.PROMOTE, 3)
    assert train(loop, "window_1") == made
    assert find(place, "production").ok


def test_writing_to_the_journal_moves_nothing(place: Place) -> None:
    """The promotion of 2 is made one of 1, and its outcome removed, as if it were still to be done.
    Every command names it, and the API goes on. Even with the chain made anew, which a person's
    acceptance does too, it is not carried out: its files are not those of version 1."""
    loop = place.open()
    with loop.engine.begin() as connection:
        connection.execute(text("UPDATE decisions SET version = 1 WHERE id = 4"))
        connection.execute(text("DELETE FROM outcomes WHERE decision IN (3, 4)"))
    told = "decision 4 is not what was written, the outcome of decision 3 is gone"
    for command in (lambda: look(loop, "window_1"), lambda: train(loop, "window_1")):
        with pytest.raises(StoreError, match=told.partition(",")[0]):
            command()
    assert "closedloop accept" in find(place, "journal").then
    assert "decision 4 is not what was written" in read_status(loop, {})["damaged"]
    assert ask(place) == (200, 2, None)
    loop.journal.chain_all("iris")
    made = train(loop, "window_1")
    assert (made.decision.action, made.decision.version) == (Action.REJECT, 3)
    assert loop.journal.entry(4).outcome is None
    assert loop.registry.production() == 2
