"""A person decides whether a labelled window is trained on."""

from __future__ import annotations

from closedloop.decisions.checks import Action, Decision, Kind, request_check
from closedloop.errors import UseCaseError
from closedloop.storage.details import TurnDetails
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.carry_out import carry_out
from closedloop.turn.kept_out import read_standings
from closedloop.turn.open import Loop
from closedloop.turn.who_and_why import check_words

WORDS = {Action.RELEASE: "release", Action.QUARANTINE: "keep"}


def decide_by_hand(
    loop: Loop, action: Action, window: str, *, by: str | None = None, reason: str | None = None
) -> Entry:
    """RELEASE a window from quarantine, or keep any window out of training (QUARANTINE).

    Repeated after a crash, it finishes what was started. A turn on the window, or on a later one,
    decides again after it. Raises UseCaseError when there is no such window, or nothing to release.
    """
    by, reason = check_words(by, reason)
    with loop.lock(f"quarantine {WORDS[action]}"):
        standing = read_standings(loop.journal.history(loop.use_case.name)).get(window)
        if standing is not None and standing.entry.outcome is None:
            made = standing.entry
            if made.origin is Origin.PERSON and made.decision.action is action:
                return carry_out(loop, made)
        _refuse_nonsense(loop, action, window, out=standing is not None and standing.out)
        asked = request_check(f"{WORDS[action]} {window}", by, reason)
        live = loop.registry.production()
        after = 0 if standing is None else standing.entry.id
        entry = loop.journal.write(
            f"{loop.use_case.name}/by-hand/{action.value}/{window}/after-{after}",
            loop.use_case.name,
            Decision(Kind.QUARANTINE, action, window, (asked,), live),
            details=TurnDetails(live, by=by, why=reason),
            origin=Origin.PERSON,
        )
        return carry_out(loop, entry)


def _refuse_nonsense(loop: Loop, action: Action, window: str, *, out: bool) -> None:
    where = f"closedloop quarantine {WORDS[action]} {window}"
    if action is Action.RELEASE and not out:
        raise UseCaseError(
            where=where,
            wanted="a window that is kept out of training",
            got=f"{window}, which is not",
            then="list those that are: closedloop quarantine",
        )
    names = loop.source.windows()
    if action is Action.QUARANTINE and window not in names:
        raise UseCaseError(
            where=where,
            wanted=f"a known window ({names[0]} to {names[-1]})",
            got=window,
            then="check the name",
        )
