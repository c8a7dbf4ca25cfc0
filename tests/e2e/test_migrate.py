"""`closedloop migrate`: everything comes along, from embedded stores to a team's with logins."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import inspect

from closedloop.bundle.files import model_digest
from closedloop.bundle.frames import score_frame
from closedloop.bundle.loaded import load_with_pipeline
from closedloop.decisions.checks import Action
from closedloop.errors import RegistryError, StoreError, UseCaseError
from closedloop.operations.moving.stores import migrate, open_destination
from closedloop.records.labels import Label
from closedloop.registry.live import ProductionReader
from closedloop.settings import Settings
from tests.e2e.small_loop import Place, look, train
from tests.e2e.two_sides import Sides, command, move, move_and_die, moved, runs_of, sides, snapshot  # noqa: F401
from tests.postgres import Cluster, postgres  # noqa: F401
from tests.team_stack import TeamMlflow, starting_mlflow  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.nightly]
# Calls that write into the target, each with how often it is let through before the process is
# killed.
KILLS = [
    ("_upload", 1),
    ("set_tag", 3),
    ("delete_model_version", 0),
    ("INSERT INTO outcomes", 0),
    ("append", 0),
    ("set_registered_model_alias", 0),
]


def test_a_dry_run_says_everything_and_writes_nothing(sides: Sides) -> None:
    """What there is and what is missing, without an experiment, a model or a table in the
    target."""
    found = move(sides, dry_run=True)
    assert vars(found.found) == {
        "versions": 3,
        "runs": 6,
        "decisions": 10,
        "answered_rows": 746,
        "labels": 65,
    }
    assert found.missing == found.found
    assert not found.compared
    there = sides.there.open()
    assert there.registry._client.get_experiment_by_name("iris") is None
    assert there.registry.versions() == ()
    assert inspect(there.engine).get_table_names() == []


def test_killed_again_and_again_it_ends_as_if_it_had_not_been(
    sides: Sides, command: Callable[..., Any]
) -> None:
    """kill -9 while files go up, before a run is whole, with a placeholder for a deleted version
    still there, within the journal's transaction, before answers, and before production is set:
    nothing is in production until the end, the command finishes what was begun, nothing is there
    twice, a third time there is nothing to do, and the source is as it was."""
    before = snapshot(sides.here.settings.home)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "tests.e2e.small_loop",
            "closedloop.operations.moving.stores",
            "mlflow.tracking",
            "mlflow.artifacts",
        ]
    )
    there = sides.there.open()
    for step, let_through in KILLS:
        child = context.Process(target=move_and_die, args=(sides, step, let_through))
        child.start()
        child.join()
        assert child.exitcode == -9, f"was not killed before {step}"
        assert there.registry.production() is None, f"in production when killed before {step}"
    to = sides.there.settings
    addresses = {
        "CLOSEDLOOP_TO_DATABASE_URL": str(to.database_url),
        "CLOSEDLOOP_TO_MLFLOW_URL": str(to.mlflow_url),
    }
    done = command(sides.here, "migrate", "--json", **addresses)
    assert done["same"], done
    assert not done["nothing_to_do"]
    assert {comparison["what"]: comparison["there"] for comparison in done["compared"]} == {
        "versions, their aliases and tags": "1 production, 2 archived, 4 rejected",
        "sha256 of model files": "3 as registered",
        "runs": "6",
        "decisions": done["compared"][3]["here"],
        "answered rows": "746",
        "labels": "65",
    }
    assert done["next"]["MLFLOW_TRACKING_URI"] == to.mlflow_url
    code, said = command(
        sides.here,
        "migrate",
        "--to-database",
        str(to.database_url),
        "--to-mlflow",
        str(to.mlflow_url),
    )
    assert (code, "nothing to do: the target has everything" in said) == (0, True)
    assert snapshot(sides.here.settings.home) == before


def test_status_history_and_why_say_the_same(moved: Sides, command: Callable[..., Any]) -> None:
    """What people and programs are told there is what they were told here, but for the ids of runs
    and the way to a report."""
    here, there = (
        [command(place, "status", "--json"), command(place, "history", "--json")]
        for place in (moved.here, moved.there)
    )
    for said in (here, there):
        for entry in [said[0]["last_decision"], *said[1]]:
            for name in ("run", "report"):
                entry["details"].pop(name, None)
    assert here == there
    assert here[0]["production"] == 1
    for number in (1, 4, 10):
        whys = [command(place, "why", str(number)) for place in (moved.here, moved.there)]
        first, second = (
            [line for line in said.splitlines() if "/#/" not in line] for _, said in whys
        )
        assert first == second


def test_runs_are_what_they_were(moved: Sides) -> None:
    """Name, times, status, metrics with their times, parameters, tags, inputs and every file; also
    of the run that is deleted."""
    here, there = (runs_of(place.open().registry) for place in (moved.here, moved.there))
    assert len(there) == 6
    assert {origin: facts for origin, (_, facts) in here.items()} == {
        origin: facts for origin, (_, facts) in there.items()
    }
    assert not {id for id, _ in here.values()} & {id for id, _ in there.values()}
    assert any("drift_report.html" in facts["files"] for _, facts in there.values())
    assert sum(len(facts["inputs"]) for _, facts in there.values()) >= 4


def test_a_decision_leads_to_its_report(moved: Sides) -> None:
    """The run that a decision names is there, with its report, and the link names this run and its
    experiment there."""
    loop = moved.there.open()
    named = [entry for entry in loop.journal.history("iris") if entry.turn.run]
    assert len(named) == 2
    for entry in named:
        run, experiment = entry.turn.run.run, loop.registry._experiment()
        page = f"{moved.team.uri}/#/experiments/{experiment}/runs/{run}/artifacts"
        assert entry.turn.run.report in (page, f"{page}/drift_report.html")
        assert (
            json.loads(loop.registry.read_run_file(run, "evidence.json"))["window"]["name"]
            == entry.decision.window
        )


def test_the_service_finds_the_same_production_and_it_answers_the_same(
    moved: Sides, tmp_path: Path
) -> None:
    """The reader of the API, which does without MLflow's library, finds the version and its files,
    and the answers are equal to the last digit."""
    found = {}
    for place in (moved.here, moved.there):
        reader = ProductionReader(
            "iris",
            place.settings.tracking_uri,
            artifacts=place.settings.artifacts_folder,
            downloads=tmp_path / place.settings.home.name,
        )
        number = reader.find()
        assert number == 1
        found[place] = reader.download(number)
    here, there = (load_with_pipeline(found[place]) for place in (moved.here, moved.there))
    assert found[moved.here] != found[moved.there]
    assert model_digest(found[moved.here]) == model_digest(found[moved.there])
    rows = pd.DataFrame(here.self_test.rows)
    assert np.array_equal(score_frame(here.scorer, rows), score_frame(there.scorer, rows))
    assert there.measure_self_test() == 0


def test_answers_and_labels_are_there_with_their_keys(moved: Sides) -> None:
    """What is read for a window is the same, and a label that comes now, by key, finds its
    answer."""
    here, there = moved.here.open(), moved.there.open()
    assert here.records.read(here.use_case).equals(there.records.read(there.use_case))
    assert there.records.label_many([Label("setosa", key="flower-3-39")], "iris") == 1


def test_no_turn_is_taken_meanwhile(moved: Sides) -> None:
    """While it runs, the lock of the use case is held here: a turn waits."""
    loop, to, tried = moved.here.open(), moved.there.settings, []

    def watch(title: str) -> Any:
        if not title.startswith("waiting"):
            with (
                (moved.here.settings.home / "iris-turn.lock").open() as file,
                pytest.raises(BlockingIOError),
            ):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            tried.append(title)
        return nullcontext(lambda _done, _size: None)

    with open_destination(loop, str(to.database_url), str(to.mlflow_url)) as target:
        migrate(loop, target, watch, dry_run=True)
    assert len(tried) == 2


@pytest.mark.parametrize(
    ("database", "mlflow", "wanted"),
    [
        ("{database}", "sqlite:///mlflow.db", "wanted the address of an MLflow server"),
        ("nonsense", "{mlflow}", "--to-database: wanted a SQLAlchemy address"),
        ("sqlite:///{home}/closedloop.db", "{mlflow}", "other stores than those in use"),
        ("{database}", "http://127.0.0.1:9", "check --to-mlflow, MLFLOW_TRACKING_USERNAME"),
    ],
)
def test_addresses_that_lead_nowhere_are_named(
    moved: Sides, database: str, mlflow: str, wanted: str
) -> None:
    """Before anything is looked at, what cannot be moved to is said, and by which option it was
    named."""
    to = moved.there.settings
    given = [
        text.format(database=to.database_url, mlflow=to.mlflow_url, home=moved.here.settings.home)
        for text in (database, mlflow)
    ]
    with (
        pytest.raises((UseCaseError, StoreError, RegistryError), match=wanted),
        open_destination(moved.here.open(), given[0], given[1]),
    ):
        pass


def test_a_wrong_password_is_said_with_where_it_belongs(
    moved: Sides, command: Callable[..., Any]
) -> None:
    """MLflow's refusal ends in one sentence that names the variables."""
    to = moved.there.settings
    code, said = command(
        moved.here,
        "migrate",
        "--to-database",
        str(to.database_url),
        "--to-mlflow",
        str(to.mlflow_url),
        MLFLOW_TRACKING_PASSWORD="guessed",
    )
    assert code == RegistryError.exit_code
    assert "MLFLOW_TRACKING_PASSWORD" in said
    assert "guessed" not in said


def test_where_there_is_nothing_nothing_is_moved(moved: Sides, tmp_path: Path) -> None:
    """A home that nobody has turned in is a mistake of the settings, not an empty migration."""
    with pytest.raises(StoreError, match="wanted something to copy"):
        move(
            Sides(
                Place(
                    Settings(home=tmp_path, data=None, database_url=None, mlflow_url=None),
                    moved.here.path,
                ),
                moved.there,
                moved.team,
            )
        )


def test_the_loop_goes_on_there(moved: Sides) -> None:
    """A window that was decided about here is not decided again; a new candidate gets a number that
    no version had; from then on a migration is refused, with nothing written, by versions as well
    as by decisions."""
    loop = moved.there.open()
    before = loop.journal.history("iris")
    again = look(loop, "window_1")
    assert again.id in [entry.id for entry in before]
    assert loop.journal.history("iris") == before
    new = train(loop, "window_2")
    assert (new.decision.version, new.decision.action) == (6, Action.PROMOTE)
    assert new.id == before[-1].id + 2
    assert (loop.registry.production(), loop.registry.previous()) == (6, 1)
    after = len(loop.journal.history("iris"))
    with pytest.raises(
        RegistryError, match=r"got version 6, made elsewhere: .*nothing was written"
    ):
        move(moved)
    loop.registry._client.delete_model_version("iris", "6")
    with pytest.raises(StoreError, match=r"got 2 made there .*nothing was written"):
        move(moved)
    assert len(loop.journal.history("iris")) == after
