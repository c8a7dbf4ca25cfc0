"""A person ends the watch after a promotion: the version stays, whatever is seen of it."""

from __future__ import annotations

from closedloop.decisions.checks import Action, Decision, Kind, request_check
from closedloop.errors import UseCaseError
from closedloop.registry.versions import find_digest
from closedloop.storage.details import TurnDetails
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.agreement import refuse_disagreement
from closedloop.turn.carry_out import carry_out
from closedloop.turn.move_by_hand import find_newest_window
from closedloop.turn.open import Loop
from closedloop.turn.probation_standing import Standing, read_probation
from closedloop.turn.who_and_why import check_name, check_reason


def end_probation(loop: Loop, *, by: str, reason: str) -> Entry:
    """Keep production, and watch it no longer: written down with who and why.

    A rollback that was decided and not carried out yet is superseded. Repeated after a crash, it
    finishes what was started. Raises UseCaseError when nothing is on probation, or when somebody
    ended it before, which is said with their name; StoreError or UnknownRegistry when journal and
    registry disagree.
    """
    by, reason = check_name(by), check_reason(reason)
    with loop.lock("probation end"):
        refuse_disagreement(loop)
        found = read_probation(loop)
        if found is not None and found.ended is not None and found.ended.outcome is None:
            return _finish(loop, found, found.ended)
        if found is None or not found.watched:
            raise _refuse(loop, found)
        name, promotion = loop.use_case.name, found.promotion.id
        history = loop.journal.history(name)
        told = f"end the probation of version {found.version}: {reason}"
        bundle = find_digest(loop.registry.versions(), found.version)
        entry = loop.journal.write(
            f"{name}/by-hand/end-probation/{found.version}/after-{promotion}",
            name,
            Decision(
                Kind.ROLLBACK,
                Action.KEEP,
                find_newest_window(loop, history),
                (request_check(told),),
                found.version,
            ),
            details=TurnDetails(found.version, bundle=bundle, by=by, why=reason),
            origin=Origin.PERSON,
            cause=promotion,
        )
        return _finish(loop, found, entry)


def _finish(loop: Loop, found: Standing, entry: Entry) -> Entry:
    """The loop's open rollback first: once the end is noted, nobody looks for one any more."""
    for other in loop.journal.history(loop.use_case.name):
        opposed = other.decision.action is Action.ROLLBACK and other.origin is not Origin.PERSON
        if opposed and other.outcome is None and found.promotion.id < other.id < entry.id:
            loop.journal.supersede(other, by=entry)
    return carry_out(loop, entry)


def _refuse(loop: Loop, found: Standing | None) -> UseCaseError:
    got = "nothing that could be taken back by itself"
    if found is not None and found.ended is not None:
        got = (
            f"version {found.version}, whose probation {found.ended.by or 'a person'} ended with "
            f"decision {found.ended.id}: {found.ended.why or found.ended.decision.reason}"
        )
    elif found is not None:
        got = f"version {found.version}, promoted {found.passed} windows ago"
    return UseCaseError(
        where=f"probation of {loop.use_case.name}",
        wanted="a version on probation",
        got=got,
        then="look at: closedloop status",
    )
