"""Answers of processes: killed on the way, and two at once. Real rows, a real MLflow on SQLite."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from closedloop.cli.app import main
from closedloop.decisions.checks import Action
from closedloop.errors import AnswerRefused
from closedloop.storage.details import RowsFacts
from closedloop.storage.entry import Entry
from closedloop.turn.agreement import find_faults, look_for_disagreement
from closedloop.turn.answers import answer_key, find_changed_rows, settle_answers
from closedloop.turn.approval import approve, read_waits, reject, waiting
from closedloop.turn.carry_out import carry_out
from closedloop.turn.history import History
from tests.turned_loop import TurnedLoop, make_month, write_loop
from tests.unit.turn.answering_child import PLACES, answer_and_die, answer_at_once

pytestmark = pytest.mark.slow

CHILD_SECONDS = 120


@pytest.fixture(scope="module")
def processes() -> Any:
    """A multiprocessing context whose children have everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.unit.turn.answering_child", "mlflow.tracking"])
    return context


@pytest.fixture(scope="module")
def asking(
    tmp_path_factory: pytest.TempPathFactory, make_mlflow_tables: Callable[[Path], None]
) -> tuple[TurnedLoop, Entry]:
    """A loop whose first candidate waits for a person."""
    place = write_loop(tmp_path_factory.mktemp("asking"), 3)
    make_mlflow_tables(place.settings.home_folder)
    text = place.path.read_text(encoding="utf-8")
    place.path.write_text(text + 'approval = "always"\n', encoding="utf-8")
    wait = place.train("2026-02")
    assert (wait.decision.action, wait.outcome) == (Action.WAIT, None)
    return place, wait


@pytest.fixture
def asked(asking: tuple[TurnedLoop, Entry], tmp_path: Path) -> tuple[TurnedLoop, Entry]:
    """A copy of it: a training would take longer than the test."""
    place, wait = asking
    shutil.copytree(place.folder, tmp_path / "copy")
    return TurnedLoop(tmp_path / "copy"), wait


def assert_agreed(place: TurnedLoop, wait: Entry, live: int | None) -> None:
    """Registry and journal say the same, and nothing is half done."""
    loop = place.open()
    assert loop.registry.production() == live
    assert (look_for_disagreement(loop), find_faults(loop), loop.tell_moved()) == (None, None, ())
    answers = [entry for entry in loop.journal.history("shop") if entry.key == answer_key(wait)]
    assert [entry.outcome for entry in answers] == ["done"]
    assert loop.journal.entry(wait.id).outcome == "done"
    assert waiting(loop) == ()


def take_the_next_turn(place: TurnedLoop, wait: Entry) -> None:
    settle_answers(History(place.open()))


def answer_again(place: TurnedLoop, wait: Entry) -> None:
    loop = place.open()
    made = loop.journal.find(answer_key(wait))
    assert made is not None
    again = approve if made.decision.action is Action.PROMOTE else reject
    assert again(loop, wait.id, by="bob", reason="again", act=carry_out).by == "ann@shop"


NEXT = [take_the_next_turn, pytest.param(answer_again, marks=pytest.mark.nightly)]


@pytest.mark.parametrize("proceed", NEXT, ids=lambda proceed: proceed.__name__)
@pytest.mark.parametrize("answer", ["approve", pytest.param("reject", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("where", PLACES)
def test_a_killed_answer_is_finished_by_the_next_command(
    processes: Any,
    asked: tuple[TurnedLoop, Entry],
    where: str,
    answer: str,
    proceed: Callable[[TurnedLoop, Entry], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Killed between the answer and the alias, between the alias and the outcome, and before the
    decision that waited is settled: the next turn, or the same answer of anybody, ends it, and
    registry and journal agree, and `closedloop doctor` finds nothing."""
    place, wait = asked
    child = processes.Process(
        target=answer_and_die, args=(place.folder, wait.id, answer, where), daemon=True
    )
    child.start()
    child.join(CHILD_SECONDS)
    assert child.exitcode == -signal.SIGKILL
    loop = place.open()
    assert loop.journal.find(answer_key(wait)) is not None
    assert loop.journal.entry(wait.id).outcome is None
    moved = where != "decided" and answer == "approve"
    assert loop.registry.production() == (1 if moved else None)
    assert loop.tell_moved() == ()  # the journal knows that an answer is under way
    proceed(place, wait)
    assert_agreed(place, wait, 1 if answer == "approve" else None)
    home = {"CLOSEDLOOP_HOME": str(place.settings.home_folder)}
    examined = main(["doctor", "--use-case", str(place.path)], {**os.environ, **home})
    assert examined == 0, capsys.readouterr().out


@pytest.mark.parametrize("second", ["approve", "reject"])
def test_of_two_answers_at_once_one_wins(
    processes: Any, asked: tuple[TurnedLoop, Entry], second: str
) -> None:
    """Two processes answer at the same moment: one answer is written and carried out once; whoever
    loses is told who was first, and why."""
    place, wait = asked
    begin, told = processes.Barrier(2), processes.Queue()
    people = {"ann": "approve", "bob": second}
    children = [
        processes.Process(
            target=answer_at_once,
            args=(place.folder, wait.id, answer, person, begin, told),
            daemon=True,
        )
        for person, answer in people.items()
    ]
    for child in children:
        child.start()
    heard = {found[0]: found[1:] for found in (told.get(timeout=CHILD_SECONDS) for _ in children)}
    for child in children:
        child.join(CHILD_SECONDS)
    loop = place.open()
    entry = loop.journal.find(answer_key(wait))
    assert entry is not None
    assert entry.by in people
    winner, loser = entry.by, next(person for person in people if person != entry.by)
    assert heard[winner] == (entry.id, winner, entry.decision.action.value)
    if second == "approve":
        assert heard[loser] == (entry.id, winner, "promote")
    else:
        assert f"by {winner} at" in heard[loser][1]
        assert f"says {winner}" in heard[loser][1]
    assert_agreed(place, wait, 1 if people[winner] == "approve" else None)


def test_rows_that_changed_while_a_candidate_waited(asked: tuple[TurnedLoop, Entry]) -> None:
    """Another value in a window that it learnt from refuses the approval, and names the window; so
    does a window that is gone; a newer window does not."""
    place, wait = asked
    old = place.folder / "2026-01.csv"
    rows = old.read_text(encoding="utf-8")
    changed = make_month(1)
    changed.loc[0, "spend"] = 49.0
    changed.to_csv(old, index=False)
    with pytest.raises(AnswerRefused, match="rows of 2026-01, which the candidate learnt from"):
        approve(place.open(), wait.id, by="ann", reason="fine", act=carry_out)
    old.unlink()
    with pytest.raises(AnswerRefused, match=r"the window 2026-01, .*, is gone"):
        approve(place.open(), wait.id, by="ann", reason="fine", act=carry_out)
    old.write_text(rows, encoding="utf-8")
    make_month(4).to_csv(place.folder / "2026-04.csv", index=False)
    assert [facts["windows_left"] for facts in read_waits(place.open())] == [0]
    assert approve(place.open(), wait.id, by="a", reason="b", act=carry_out).outcome == "done"


def test_labels_that_came_later_are_no_change(asked: tuple[TurnedLoop, Entry]) -> None:
    """Rows that were there without a label may get one while a candidate waits."""
    place, wait = asked
    loop = place.open()
    late = make_month(1)
    late.loc[:4, "left"] = None
    late.to_csv(place.folder / "2026-01.csv", index=False)
    now = History(loop).read("2026-01").facts
    (_, digest, rows, _), *others = wait.details.rows.windows_then  # type: ignore[union-attr]
    then = RowsFacts((("2026-01", now.digest, now.rows, now.labelled_rows), *others))
    assert (now.rows, now.labelled_rows, digest != now.digest) == (rows, rows - 5, True)
    make_month(1).to_csv(place.folder / "2026-01.csv", index=False)
    earlier = replace(wait, details=replace(wait.details, rows=then))
    assert find_changed_rows(History(loop), earlier) == ""
    late.to_csv(place.folder / "2026-01.csv", index=False)
    assert "have changed" in find_changed_rows(History(loop), wait)


def test_what_waits_is_found_again_and_a_newer_candidate_takes_its_place(
    asking: tuple[TurnedLoop, Entry],
) -> None:
    """Training again on the same rows finds the decision that waits; approved, it has its card; the
    next candidate waits in turn, and closes an older one that nobody answered."""
    place, wait = asking
    assert place.train("2026-02") == wait
    loop = place.open()
    assert approve(loop, wait.id, by="ann@shop", reason="fine").outcome == "done"
    run = loop.registry.version(1).run_id
    card = loop.registry.read_run_files(run, ("card.md",))["card.md"]
    assert "ann@shop" in card
    first, second = (
        place.train("2026-03"),
        place.train(
            "2026-03",
        ),
    )
    assert first == second
    assert first.decision.version == 2
    made = make_month(4)
    made.to_csv(place.folder / "2026-04.csv", index=False)
    newer = place.train("2026-04")
    loop = place.open()
    assert waiting(loop) == (newer,)
    assert loop.journal.entry(first.id).outcome == "superseded"
    assert loop.registry.version(2).status == "rejected"
    assert History(loop).state().waiting == newer.id
    assert loop.registry.production() == 1
