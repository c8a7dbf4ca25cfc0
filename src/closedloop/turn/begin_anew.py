"""A person goes on from what registry and journal hold now, whatever was decided before.

What was decided before the acceptance stays in the journal as history: later turns and trainings
decide again, under keys of their own.
"""

from __future__ import annotations

from closedloop.decisions.checks import (
    Action,
    Check,
    Decision,
    Kind,
    Role,
    make_check,
    request_check,
)
from closedloop.errors import ClosedLoopError, UseCaseError
from closedloop.registry.versions import PRUNED, PRUNING, find_digest
from closedloop.storage.details import TurnDetails
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.agreement import find_faults, look_for_disagreement, open_turn
from closedloop.turn.carry_out import carry_out
from closedloop.turn.history import History
from closedloop.turn.move_by_hand import NO_WINDOW
from closedloop.turn.open import Loop
from closedloop.turn.who_and_why import check_words

_WAITS = (Action.PROMOTE, Action.ESCALATE, Action.WAIT)


def accept_as_it_is(loop: Loop, *, by: str | None = None, reason: str | None = None) -> Entry:
    """Accept what registry and journal hold now, at a person's request.

    `by` and `reason` say who asks, and why.

    Raises UseCaseError when they agree and the journal is as it was written.
    """
    who = check_words(by, reason)
    with loop.lock("accept"):
        fault, found = find_faults(loop), look_for_disagreement(loop)
        if fault is None and found is None:
            raise UseCaseError(
                where="closedloop accept",
                wanted="a registry and a journal that disagree, or a damaged journal",
                got="two that agree, as they were written",
                then="nothing needs to be done",
            )
        told = "; ".join(str(reason) for reason in (fault, found) if reason)
        entry = _accept(loop, "go on from what is there now", told, *who)
        if fault is not None:
            loop.journal.chain_all(loop.use_case.name)
        loop.registry.keep_head(loop.journal.read_head(loop.use_case.name))
        return entry


def open_training(loop: Loop, window: str | None, *, by_person: bool) -> History[Loop]:
    """The history of a training; one `by_person` begins anew where what was decided is lost.

    Raises RegistryError when something that the journal does not know is in production, StoreError
    when decisions are not as they were written.
    """
    if not by_person:
        return open_turn(loop, window)
    history = History(loop, window)
    return History(loop, window) if _begin_anew(history) else history


def _begin_anew(history: History[Loop]) -> Entry | None:
    """Accept that what the training would find done is lost; None when nothing is."""
    loop = history.loop
    if (fault := find_faults(loop)) is not None:
        raise fault
    if (found := look_for_disagreement(loop)) is not None:
        if not found.lost:
            raise found.as_error(loop.use_case.name)
        return _accept(loop, f"train for {history.window}", str(found))
    made = loop.journal.find(history.promotion_key)
    if made is None or (lost := _find_loss(loop, made)) is None:
        return None
    return _accept(loop, f"train for {history.window}", lost)


def _find_loss(loop: Loop, made: Entry) -> str | None:
    """Why the version that a decision promoted, or left to a person, is no longer there."""
    number = made.decision.version
    if made.decision.action not in _WAITS or number is None:
        return None
    facts = {facts.version: facts for facts in loop.registry.versions()}.get(number)
    if facts is not None and facts.status in (PRUNING, PRUNED):
        return None
    if facts is None or made.bundle not in (None, facts.digest):
        return f"version {number} of decision {made.id} is gone"
    try:
        loop.registry.load(number)
    except ClosedLoopError as error:
        return str(error)
    return None


def _accept(
    loop: Loop, asked: str, found: str, by: str | None = None, why: str | None = None
) -> Entry:
    history = loop.journal.history(loop.use_case.name)
    live = loop.registry.production()
    entry = loop.journal.write(
        f"{loop.use_case.name}/by-hand/accept/after-{history[-1].id if history else 0}",
        loop.use_case.name,
        Decision(
            Kind.ACCEPTANCE,
            Action.ACCEPT,
            NO_WINDOW,
            (request_check(asked, by, why), _note(found)),
            live,
        ),
        # As for a promotion, `production` is what was live before.
        details=TurnDetails(
            loop.registry.previous(),
            bundle=find_digest(loop.registry.versions(), live),
            by=by,
            why=why,
        ),
        origin=Origin.PERSON,
    )
    return carry_out(loop, entry)


def _note(found: str) -> Check:
    return make_check(
        "registry and journal agree", False, Role.NOTE, "one state of things", found, summary=found
    )
