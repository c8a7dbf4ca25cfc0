"""The manual of `decide_rollback`, one line a situation. `delta` is production minus the version that it replaced."""

from __future__ import annotations

from dataclasses import replace

import pytest

from closedloop.decisions.checks import Action
from closedloop.decisions.rollback import decide_rollback
from closedloop.decisions.rollback_evidence import (
    Answers,
    AnswersSeen,
    RollbackEvidence,
    Served,
)
from closedloop.decisions.signals import FAILING, SAME, SHIFTED, SLOW, UNUSABLE
from tests.spec.examples import Row, delta, rollback, with_rollback

KEEP, ROLLBACK = Action.KEEP, Action.ROLLBACK
WORSE, UNNAMED = (
    "production is significantly worse than version 3",
    "production is significantly worse than the version it replaced",
)
PROBATION, THERE = "production is on probation", "there is a version to go back to"
HARM = delta(-0.05)
SOUND = Answers("", 0.01, 0.05)
BROKEN_ANSWERS = Answers("3 of 2000 rows without finite probabilities")


def seen(production: Answers = SOUND, previous: Answers = SOUND, rows: int = 2000) -> AnswersSeen:
    """Both versions on the rows of the window."""
    return AnswersSeen(rows, production, previous)


def called(now: Served, before: Served | None, promoted_at: int = 9) -> RollbackEvidence:
    """Nothing is known but calls of the service."""
    return rollback(None, {"promoted_at": promoted_at}, served=now, served_before=before)


# fmt: off
TABLE = [
    # situation                               evidence                                     action    settled by
    Row("surely worse, one window later",     rollback(HARM),                              ROLLBACK, (f"{WORSE} holds",)),
    Row("surely worse, last probation window", rollback(HARM, {"promoted_at": 8}),         ROLLBACK, (f"{WORSE} holds",)),
    Row("surely worse, probation is over",    rollback(HARM, {"promoted_at": 7}),          KEEP,     (f"{WORSE} holds", f"{PROBATION} fails")),
    Row("the window of the promotion itself", rollback(HARM, {"promoted_at": 10}),         KEEP,     ()),
    Row("worse, perhaps by chance",           rollback(delta(-0.009)),                     KEEP,     (f"{WORSE} fails",)),
    Row("better",                             rollback(delta(0.05)),                       KEEP,     (f"{WORSE} fails",)),
    Row("exactly as good",                    rollback(delta(0.0, 0.0)),                   KEEP,     (f"{WORSE} fails",)),
    Row("worse, within the accepted loss",    rollback(delta(-0.014)),                     KEEP,     (f"{WORSE} fails",), with_rollback(max_loss=0.005)),
    Row("worse, once looked at",              rollback(delta(-0.013)),                     KEEP,     (f"{WORSE} fails",)),
    Row("the same loss on all rows so far",   rollback(delta(-0.013, 0.006, rows=6000)),   ROLLBACK, (f"{WORSE} holds",)),
    Row("too few labelled rows",              rollback(delta(-0.05, rows=499)),            KEEP,     (f"{WORSE} unknown",)),
    Row("too few of the rarest class",        rollback(HARM, rarest=19),                   KEEP,     (f"{WORSE} unknown",)),
    Row("of too few customers",               rollback(replace(HARM, groups=19), rarest=200), KEEP,  (f"{WORSE} unknown",)),
    Row("of just enough customers",           rollback(replace(HARM, groups=20), rarest=200), ROLLBACK, (f"{WORSE} holds",)),
    Row("switched off",                       rollback(HARM),                              KEEP,     (f"{WORSE} holds", "rollback is enabled fails"), with_rollback(enabled=False)),
    # -- blanks
    Row("nothing to go back to",              rollback(HARM, {"previous": None}),          KEEP,     (f"{UNNAMED} holds", f"{THERE} fails")),
    Row("nobody knows when it was promoted",  rollback(HARM, {"promoted_at": None}),       KEEP,     (f"{WORSE} holds", f"{PROBATION} fails")),
    Row("no labels yet",                      rollback(None),                              KEEP,     (f"{WORSE} unknown",)),
    # -- without labels: answers on the rows of the window
    Row("all is well",                        rollback(None, answers=seen()),              KEEP,     ()),
    Row("production raises an error",         rollback(None, answers=seen(BROKEN_ANSWERS)), ROLLBACK, (f"{UNUSABLE} version 3 answers holds",)),
    Row("neither can answer these rows",      rollback(None, answers=seen(BROKEN_ANSWERS, BROKEN_ANSWERS)), KEEP, ()),
    Row("only the version before fails",      rollback(None, answers=seen(SOUND, BROKEN_ANSWERS)), KEEP, ()),
    Row("everybody gets the same answer",     rollback(None, answers=seen(replace(SOUND, same_share=1.0))), ROLLBACK, (f"{SAME} holds",)),
    Row("the version before did so, too",     rollback(None, answers=seen(*[replace(SOUND, same_share=1.0)] * 2)), KEEP, ()),
    Row("the same answer, on few rows",       rollback(None, answers=seen(replace(SOUND, same_share=1.0), rows=99)), KEEP, (f"{SAME} unknown",)),
    Row("an impossible score shift",          rollback(None, answers=seen(replace(SOUND, shift=0.45))), ROLLBACK, (f"{SHIFTED} holds",)),
    Row("the rows moved the scores of both",  rollback(None, answers=seen(replace(SOUND, shift=0.45), replace(SOUND, shift=0.2))), KEEP, ()),
    Row("nobody kept what it showed before",  rollback(None, answers=seen(replace(SOUND, shift=None))), KEEP, (f"{SHIFTED} unknown",)),
    # -- without labels: calls of the service
    Row("as many calls fail as before",       called(Served(4, 1000, 20, 2.0), Served(3, 5000, 100, 2.0)), KEEP, ()),
    Row("every call fails",                   called(Served(4, 200, 200), Served(3, 5000, 0, 2.0)), ROLLBACK, (f"{FAILING} version 3 holds",)),
    Row("one call in twenty fails",           called(Served(4, 2000, 100, 2.0), Served(3, 5000, 0, 2.0)), ROLLBACK, (f"{FAILING} version 3 holds",)),
    Row("a few failures, perhaps by chance",  called(Served(4, 200, 5, 2.0), Served(3, 5000, 0, 2.0)), KEEP, ()),
    Row("too few calls to tell",              called(Served(4, 199, 199), Served(3, 5000, 0, 2.0)), KEEP, (f"{FAILING} version 3 unknown",)),
    Row("nobody knows how it was before",     called(Served(4, 2000, 2000), None),         KEEP,     (f"{FAILING} version 3 unknown",)),
    Row("far slower than before",             called(Served(4, 1000, 0, 90.0), Served(3, 5000, 0, 20.0)), ROLLBACK, (f"{SLOW} version 3 holds",)),
    Row("slower by a factor that nobody feels", called(Served(4, 1000, 0, 0.9), Served(3, 5000, 0, 0.1)), KEEP, ()),
    Row("slower, by less than the factor",    called(Served(4, 1000, 0, 50.0), Served(3, 5000, 0, 20.0)), KEEP, ()),
    Row("in the window of the promotion",     called(Served(4, 200, 200), Served(3, 5000, 0), promoted_at=10), ROLLBACK, (f"{FAILING} version 3 holds",)),
    Row("failing, but probation is over",     called(Served(4, 200, 200), Served(3, 5000, 0), promoted_at=7), KEEP, (f"{FAILING} version 3 holds", f"{PROBATION} fails")),
    Row("failing, and switched off",          called(Served(4, 200, 200), Served(3, 5000, 0)), KEEP, (f"{FAILING} version 3 holds", "rollback is enabled fails"), with_rollback(enabled=False)),
]
# fmt: on


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.situation)
def test_when_to_go_back(row: Row) -> None:
    """Each situation of the table leads to its action, by the checks that it names and no other."""
    decision = decide_rollback(row.evidence, row.policy)
    row.assert_holds(decision)
    assert decision.version == (3 if decision.action is ROLLBACK else 4)
