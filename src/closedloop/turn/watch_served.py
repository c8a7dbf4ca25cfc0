"""The watch that waits for no window: calls of production that fail, or take far too long."""

from __future__ import annotations

from closedloop.decisions.checks import Action, Kind
from closedloop.decisions.evidence import LoopState, Window
from closedloop.decisions.rollback import decide_rollback
from closedloop.decisions.rollback_evidence import RollbackEvidence
from closedloop.registry.versions import find_digest
from closedloop.storage.details import TurnDetails
from closedloop.storage.entry import Entry
from closedloop.turn.agreement import refuse_disagreement
from closedloop.turn.carry_out import carry_out
from closedloop.turn.move_by_hand import find_newest_window
from closedloop.turn.open import Loop
from closedloop.turn.probation_standing import Standing, read_probation

SERVED = "/served/"  # in a key


def watch_served(loop: Loop) -> Entry | None:
    """Take production back if its calls say so; the decision, or None where nothing is to be done.

    It costs a look at the registry and the counts of the service, so it may be asked every minute:
    what is kept is written down by turns alone. Repeated after a crash, it finishes what was
    decided. Raises as `refuse_disagreement`, and StoreError or RegistryError for what is away.
    """
    if _find_cut_off(loop) is None:
        found = read_probation(loop)
        if found is None or not found.watched or not _asks_for_rollback(loop, found):
            return None
    with loop.lock("probation"):
        refuse_disagreement(loop)
        entry = _find_cut_off(loop)
        found = None if entry else read_probation(loop)
        if found is not None and found.watched:
            entry = _decide(loop, found)
        return None if entry is None else carry_out(loop, entry)


def _asks_for_rollback(loop: Loop, found: Standing) -> bool:
    evidence = _gather(loop, found, "-")
    policy = loop.use_case.policy
    return evidence is not None and decide_rollback(evidence, policy).action is Action.ROLLBACK


def _find_cut_off(loop: Loop) -> Entry | None:
    """The newest decision of this kind, if a crash kept it from being carried out."""
    name = loop.use_case.name
    made = [
        entry
        for entry in loop.journal.history(name, kinds=(Kind.ROLLBACK,))
        if entry.key.startswith(f"{name}{SERVED}")
    ]
    return made[-1] if made and made[-1].outcome is None else None


def _decide(loop: Loop, found: Standing) -> Entry | None:
    window = find_newest_window(loop, loop.journal.history(loop.use_case.name))
    evidence = _gather(loop, found, window)
    if evidence is None:
        return None
    decision = decide_rollback(evidence, loop.use_case.policy)
    if decision.action is not Action.ROLLBACK:
        return None
    bundle = find_digest(loop.registry.versions(), decision.version)
    return loop.journal.write(
        _key(loop, found),
        loop.use_case.name,
        decision,
        details=TurnDetails(found.version, bundle=bundle),
        cause=found.promotion.id,
    )


def _gather(loop: Loop, found: Standing, window: str) -> RollbackEvidence | None:
    served, before = loop.served(found.version, found.previous)
    if served is None:
        return None
    # No rows are looked at here: 0 windows after the promotion, nothing is compared.
    nothing = Window(window, 0, 0, 0, (), "")
    state = LoopState(found.version, found.previous, promoted_at=0)
    return RollbackEvidence(nothing, state, None, served=served, served_before=before)


def _key(loop: Loop, found: Standing) -> str:
    return f"{loop.use_case.name}{SERVED}{found.version}/after-{found.promotion.id}"
