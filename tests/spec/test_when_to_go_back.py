"""The manual of `decide_rollback`, one line a situation. `delta` is production minus the version that it replaced."""

from __future__ import annotations

import pytest

from closedloop.decisions.checks import Action
from closedloop.decisions.rollback import decide_rollback
from tests.spec.examples import Row, delta, rollback, with_rollback

KEEP, ROLLBACK = Action.KEEP, Action.ROLLBACK
WORSE, UNNAMED = (
    "production is significantly worse than version 3",
    "production is significantly worse than the version it replaced",
)
PROBATION, LABELLED, THERE = (
    "production is on probation",
    "enough labelled rows",
    "there is a version to go back to",
)
HARM = delta(-0.05)

# fmt: off
TABLE = [
    # situation                               evidence                                     action    settled by
    Row("surely worse, one window later",     rollback(HARM),                              ROLLBACK, (f"{WORSE} holds",)),
    Row("surely worse, last probation window", rollback(HARM, {"promoted_at": 8}),         ROLLBACK, (f"{WORSE} holds",)),
    Row("surely worse, probation is over",    rollback(HARM, {"promoted_at": 7}),          KEEP,     (f"{WORSE} holds", f"{PROBATION} fails")),
    Row("the window of the promotion itself", rollback(HARM, {"promoted_at": 10}),         KEEP,     (f"{WORSE} holds", f"{PROBATION} fails")),
    Row("worse, perhaps by chance",           rollback(delta(-0.009)),                     KEEP,     (f"{WORSE} fails",)),
    Row("better",                             rollback(delta(0.05)),                       KEEP,     (f"{WORSE} fails",)),
    Row("exactly as good",                    rollback(delta(0.0, 0.0)),                   KEEP,     (f"{WORSE} fails",)),
    Row("worse, within the accepted loss",    rollback(delta(-0.014)),                     KEEP,     (f"{WORSE} fails",), with_rollback(max_loss=0.005)),
    Row("too few labelled rows",              rollback(delta(-0.05, rows=499)),            KEEP,     (f"{WORSE} holds", f"{LABELLED} fails")),
    Row("switched off",                       rollback(HARM),                              KEEP,     (f"{WORSE} holds", "rollback is enabled fails"), with_rollback(enabled=False)),
    # -- blanks
    Row("nothing to go back to",              rollback(HARM, {"previous": None}),          KEEP,     (f"{UNNAMED} holds", f"{THERE} fails")),
    Row("nobody knows when it was promoted",  rollback(HARM, {"promoted_at": None}),       KEEP,     (f"{WORSE} holds", f"{PROBATION} fails")),
    Row("no labels yet",                      rollback(None),                              KEEP,     (f"{WORSE} unknown", f"{LABELLED} unknown")),
]
# fmt: on


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.situation)
def test_when_to_go_back(row: Row) -> None:
    """Each situation of the table leads to its action, by the checks that it names and no other."""
    decision = decide_rollback(row.evidence, row.policy)
    row.assert_holds(decision)
    assert decision.version == (3 if decision.action is ROLLBACK else 4)
