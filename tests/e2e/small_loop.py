"""A small real loop on the embedded stores: iris, turned as the flows turn it, but without
Prefect."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from closedloop.decisions.checks import Action
from closedloop.records.labels import Label
from closedloop.settings import Settings
from closedloop.storage.entry import Entry
from closedloop.turn.agreement import open_turn
from closedloop.turn.begin_anew import open_training
from closedloop.turn.move_by_hand import roll_back_by_hand
from closedloop.turn.open import Loop, open_loop
from closedloop.turn.register import propose_candidate
from closedloop.turn.take_turn import retrain, take_turn, write_request
from closedloop.windows.synthetic import generate_windows, write_generated
from flows.monitor_flow import keep_report
from tests.answers import describe_answers

REPOSITORY = Path(__file__).resolve().parents[2]
LOGISTIC = {'recipes = ["logistic", "lightgbm"]': 'recipes = ["logistic"]'}


@dataclass(frozen=True)
class Place:
    """A use case with its own home: `settings` and the path of its loop.toml."""

    settings: Settings
    path: Path

    def open(self) -> Loop:
        return open_loop(self.path, settings=self.settings)


def write_loop(path: Path, changes: dict[str, str]) -> None:
    """Iris's loop.toml with some text replaced."""
    text = (REPOSITORY / "data/iris/loop.toml").read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text, f"loop.toml no longer says {old!r}: mend this test's use case"
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def look(loop: Loop, window: str) -> Entry:
    """monitor_flow: what it decided before on the same data, or a turn, with the report in
    MLflow."""
    with loop.lock("monitor"):
        history = open_turn(loop, window)
        return take_turn(history, keep_report=keep_report.fn)


def train(loop: Loop, window: str, asked: Entry | None = None) -> Entry:
    """train_and_compare_flow: a candidate, compared, decided about and carried out."""
    with loop.training_lock("train"):
        with loop.lock("train"):
            history = open_training(loop, window, by_person=asked is None).look()
        return retrain(
            history,
            asked or write_request(history),
            propose=propose_candidate,
            lock=partial(loop.lock, "train"),
        )


def live_a_little(folder: Path) -> Place:
    """Versions 1 (production again) and 2 (rolled back), 4 (rejected), 3 and 5 deleted; a drift
    report, answers and labels."""
    path = folder / "case" / "loop.toml"
    path.parent.mkdir(parents=True)
    write_loop(path, LOGISTIC)
    shutil.copy(REPOSITORY / "data/iris/golden.json", path.parent)
    place = Place(
        Settings(
            home=folder / "home",
            data=None,
            database_url=None,
            mlflow_url=None,
            report_windows="all",
        ),
        path,
    )
    loop = place.open()
    write_generated(loop.use_case, None, generate_windows("iris", 3))
    first = look(loop, "window_0")
    assert train(loop, "window_0", first).decision.action is Action.PROMOTE
    assert train(loop, "window_1").decision.action is Action.PROMOTE
    look(loop, "window_1")
    roll_back_by_hand(loop, None)
    client, model = loop.registry._client, loop.use_case.name
    loop.registry.register("a mistake", loop.registry.version(1).run_id, {})
    client.delete_model_version(model, "3")
    for rows in (800, 900):  # more than there are: no candidate passes
        write_loop(path, {**LOGISTIC, "min_rows = 15 ": f"min_rows = {rows} "})
        refused = train(place.open(), "window_2")
        assert refused.decision.action is Action.REJECT, refused.decision.reason
    gone = loop.registry.version(5)
    client.delete_model_version(model, "5")
    client.delete_run(gone.run_id)
    write_loop(path, LOGISTIC)
    answer_some(loop)
    assert [version.version for version in loop.registry.versions()] == [1, 2, 4]
    assert (loop.registry.production(), loop.registry.previous()) == (1, None)
    return place


def answer_some(loop: Loop) -> None:
    """Answered requests with and without keys, of one row and of many, some of them labelled."""
    columns, classes = loop.use_case.columns, loop.use_case.target.classes
    requests = [
        describe_answers(
            loop.use_case.name,
            1,
            {name: [float(row) for row in range(rows)] for name in columns},
            {name: [float(name == classes[0])] * rows for name in classes},
            keys=[f"flower-{number}-{row}" for row in range(rows)] if number % 2 else (),
        )
        for number, rows in enumerate([1, 1, 3, 40, 700, 1])
    ]
    loop.records.append(requests)
    loop.records.label_many(
        [Label(classes[0], id=id) for request in requests[1:] for id in request.ids[:30]]
    )
