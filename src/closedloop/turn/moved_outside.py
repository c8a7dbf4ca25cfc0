"""A turn finds that somebody moved `production` outside of closedloop: written down, then handled.

Each move is written down once, under a key of what was found; with the policy `return`, once a
window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from closedloop.bundle.skops_model import SELF_TEST_TOLERANCE
from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.decisions.moved_outside import MovedEvidence, decide_moved
from closedloop.errors import ClosedLoopError
from closedloop.registry.versions import find_digest
from closedloop.storage.details import TurnDetails
from closedloop.storage.entry import Entry
from closedloop.turn.carry_out import carry_out
from closedloop.turn.moved_aliases import KINDS, find_refusal, last_settled, read_live
from closedloop.turn.open import Loop


def settle_moved(
    loop: Loop, window: str, *, act: Callable[[Loop, Entry], Entry] = carry_out
) -> Entry | None:
    """Write down and handle that `production` was moved outside of closedloop, if so.

    Returns the decision as it then stands; None when production is where the journal has it and was
    when a turn looked last. `window` is that of the turn, which holds the lock.
    """
    entries = loop.journal.history(loop.use_case.name, kinds=KINDS)
    states, found = read_live(entries), loop.registry.production()
    notes = _notes_since_the_last_move(entries)
    if found in {state.production for state in states}:
        if not notes or notes[-1].decision.action is not Action.ESCALATE:
            return None
        evidence = MovedEvidence(window, found, found)
    else:
        evidence = _gather(loop, entries, window, found, states[0].production)
    rules = loop.use_case.policy.registry
    decision = decide_moved(evidence, rules)
    others = [entry.id for entry in notes if _found(entry) != found]
    settled = last_settled(entries)
    anchor = max([*others, 0 if settled is None else settled.id])
    rule = rules.moved_outside + (f"/{window}" if rules.moved_outside == "return" else "")
    entry = loop.journal.write(
        f"{loop.use_case.name}/outside/{found or 'none'}/after-{anchor}/{rule}",
        loop.use_case.name,
        decision,
        details=_describe(loop, decision, evidence),
    )
    return act(loop, entry)


def _gather(
    loop: Loop, entries: Sequence[Entry], window: str, found: int | None, wanted: int | None
) -> MovedEvidence:
    """What the policy needs to know, and no more: to load a version takes a while."""
    rule = loop.use_case.policy.registry.moved_outside
    refusal = find_refusal(entries, found)
    returned = [
        entry.id
        for entry in entries
        if entry.decision.action is Action.RETURN
        and entry.decision.window == window
        and entry.outcome == "done"
    ]
    return MovedEvidence(
        window,
        found,
        wanted,
        _find_fault(loop, found) if rule == "accept" else "",
        None if refusal is None else refusal.id,
        _find_fault(loop, wanted) if rule == "return" else "",
        returned[-1] if returned else None,
    )


def _find_fault(loop: Loop, version: int | None) -> str:
    """Why a version cannot serve this use case; empty when it can."""
    if version is None:
        return ""
    try:
        loop.registry.loadable(version)
        bundle = loop.registry.load(version)
        difference = bundle.measure_self_test()
    except ClosedLoopError as error:
        return f"wanted {error.wanted}, got {error.got}"
    if difference > SELF_TEST_TOLERANCE:
        return f"its scores are {difference:.2g} off those of the trained model"
    return bundle.tell_mismatch(loop.use_case) or ""


def _describe(loop: Loop, decision: Decision, evidence: MovedEvidence) -> TurnDetails:
    """As for any move, `production` is what it replaces."""
    before = evidence.found if decision.action is Action.RETURN else evidence.wanted
    return TurnDetails(before, bundle=find_digest(loop.registry.versions(), decision.version))


def _notes_since_the_last_move(entries: Sequence[Entry]) -> list[Entry]:
    settled = last_settled(entries)
    after = 0 if settled is None else settled.id
    return [entry for entry in entries if entry.decision.kind is Kind.OUTSIDE and entry.id > after]


def _found(note: Entry) -> int | None:
    """Where a note says that production was found."""
    return note.production if note.decision.action is Action.RETURN else note.decision.version
