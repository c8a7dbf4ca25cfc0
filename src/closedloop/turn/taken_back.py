"""Whether a candidate is a version again that was taken back: the same recipe on the same rows."""

from __future__ import annotations

from closedloop.decisions.checks import Action, Kind
from closedloop.decisions.evidence import PromotionEvidence
from closedloop.decisions.taken_back import TakenBack
from closedloop.registry.versions import VersionFacts
from closedloop.storage.entry import Entry
from closedloop.turn.history import History
from closedloop.turn.ports import Parts


def find_taken_back(
    history: History[Parts], evidence: PromotionEvidence, before: Entry | None
) -> TakenBack | None:
    """The version that a candidate is again, with the newest decision that took it back.

    None once labels speak for it that are newer than that decision, or once a person has promoted
    that version since. `before` is the decision on this candidate, if it was made already: what
    came later does not change it.
    """
    journal, name = history.loop.journal, history.loop.use_case.name
    moves = journal.history(name, kinds=(Kind.PROMOTION, Kind.ROLLBACK))
    moves = tuple(
        entry
        for entry in moves
        if entry.outcome == "done" and (before is None or entry.id < before.id)
    )
    versions = {facts.version: facts for facts in history.loop.registry.versions()}
    candidate = versions.get(evidence.version or 0)
    found: TakenBack | None = None
    for entry in moves:
        decision, gone = entry.decision, entry.production
        if decision.action is Action.ROLLBACK and gone is not None:
            if _is_alike(candidate, versions.get(gone)) and not _is_newer(history, evidence, entry):
                found = TakenBack(gone, entry.id)
        elif decision.action is Action.PROMOTE and found and decision.version == found.version:
            found = None  # a person brought it back
    return found


def _is_alike(candidate: VersionFacts | None, gone: VersionFacts | None) -> bool:
    """The same recipe on the same rows; versions of older installations do not say which."""
    if candidate is None or gone is None or not candidate.learnt:
        return False
    return (candidate.learnt, candidate.recipe) == (gone.learnt, gone.recipe)


def _is_newer(history: History[Parts], evidence: PromotionEvidence, back: Entry) -> bool:
    """Whether the candidate was judged by labels that were not there when it was taken back."""
    judged, realised = evidence.comparison, back.turn.realised
    known = realised.realised_on if realised and realised.realised_on else back.decision.window
    newest, then = history.place(judged.window if judged else None), history.place(known)
    return newest is not None and then is not None and newest > then
