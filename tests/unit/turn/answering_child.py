"""What a process does that answers a decision, and may die on the way. Forked, so import little."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, NoReturn

from closedloop.errors import ClosedLoopError
from closedloop.storage.entry import Entry
from closedloop.turn import approval
from closedloop.turn.carry_out import carry_out
from closedloop.turn.open import Loop
from tests.turned_loop import TurnedLoop

# Where a process may be killed: after this was done, before anything else.
PLACES = ("decided", "moved", "noted")
ANSWERS = {"approve": approval.approve, "reject": approval.reject}


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("this process is dead")


def answer_and_die(folder: Path, decision: int, answer: str, where: str) -> None:
    """Answer, and be killed by SIGKILL once the answer is `decided`, `moved` or `noted`."""
    loop = TurnedLoop(folder).open()

    def act(loop: Loop, entry: Entry) -> Entry:
        if where == "decided":
            die()
        if where == "moved":
            loop.journal.carried_out = lambda entry: die()  # type: ignore[method-assign]
        carry_out(loop, entry)
        die()

    ANSWERS[answer](loop, decision, by="ann@shop", reason="fine", act=act)


def answer_at_once(
    folder: Path, decision: int, answer: str, by: str, begin: Any, told: Any
) -> None:
    """Answer when everybody is ready; tell what came of it."""
    loop = TurnedLoop(folder).open()
    loop.registry.versions()  # whatever is slow comes before
    begin.wait()
    try:
        entry = ANSWERS[answer](loop, decision, by=by, reason=f"says {by}", act=carry_out)
        told.put((by, entry.id, entry.by, entry.decision.action.value))
    except ClosedLoopError as error:
        told.put((by, None, str(error), ""))
