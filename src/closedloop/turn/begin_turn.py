"""What a turn does before it looks at its window: it brings registry and journal into agreement."""

from __future__ import annotations

from collections.abc import Callable

from closedloop.decisions.checks import Action
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.agreement import refuse_disagreement
from closedloop.turn.carry_out import carry_out
from closedloop.turn.history import History
from closedloop.turn.moved_aliases import KINDS, MOVES
from closedloop.turn.moved_outside import settle_moved
from closedloop.turn.open import Loop


def begin_turn(
    loop: Loop, window: str, *, act: Callable[[Loop, Entry], Entry] = carry_out
) -> History[Loop]:
    """Finish what was cut off, handle what was moved outside, and open the history of a turn.

    `act` carries decisions out. The caller holds the lock. Raises as `refuse_disagreement`.
    """
    refuse_disagreement(loop)
    finish_moves(loop, act=act)
    settle_moved(loop, window, act=act)
    return History(loop, window)


def finish_moves(
    loop: Loop, *, act: Callable[[Loop, Entry], Entry] = carry_out
) -> tuple[Entry, ...]:
    """Carry out, or supersede, the moves of `production` that a crash cut off, oldest first.

    A promotion that the loop decided is left to its training, which looks at the evidence once
    more, unless production is already there.
    """
    return tuple(
        act(loop, entry)
        for entry in loop.journal.history(loop.use_case.name, kinds=KINDS)
        if entry.outcome is None and entry.decision.action in MOVES and _may_finish(loop, entry)
    )


def _may_finish(loop: Loop, entry: Entry) -> bool:
    decision = entry.decision
    return (
        entry.origin is Origin.PERSON
        or decision.action is not Action.PROMOTE
        or loop.registry.production() == decision.version
    )
