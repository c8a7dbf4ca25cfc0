"""What waits for a person, the most pressing first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from closedloop.decisions.checks import Action, Kind
from closedloop.errors import name_some
from closedloop.registry.versions import PREVIOUS, PRODUCTION, VersionFacts
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.agreement import find_disagreement
from closedloop.turn.kept_out import read_standings
from closedloop.turn.moved_aliases import Live, tell_moved
from closedloop.turn.waiting_decisions import read_waiting
from closedloop.views.words import brief_reason, title_of

ACTS = (Action.PROMOTE, Action.ROLLBACK, Action.RETRAIN)


@dataclass(frozen=True)
class Waiting:
    """One thing that a person should look at: what it is, why, and what to do.

    `decision` is the one behind it, if any. `approval` is set when a person is asked for a yes or
    no.
    """

    title: str
    why: str
    then: str = ""
    decision: int | None = None
    approval: bool = False


def find_waiting_for_a_person(
    entries: Sequence[Entry],
    versions: Sequence[VersionFacts] | None,
    answers: Mapping[int, str] = MappingProxyType({}),
    faults: Sequence[str] = (),
) -> tuple[Waiting, ...]:
    """All that waits; `versions` is None when the registry cannot be asked.

    `answers` says of decisions that wait for a yes or no how they can be answered, and until when;
    `faults` are the decisions that are not as they were written.
    """
    return (
        *_find_approvals(entries, answers),
        *_find_changed(faults),
        *(() if versions is None else _find_moved(entries, versions)),
        *_find_escalations(entries),
        *_find_kept_out(entries),
        *_find_unfinished(entries),
    )


def find_unfinished(entries: Sequence[Entry]) -> list[int]:
    """The decisions that were written down and not carried out."""
    acting = (entry for entry in entries if entry.decision.action in ACTS)
    return [entry.id for entry in acting if entry.outcome is None]


def _find_approvals(entries: Sequence[Entry], answers: Mapping[int, str]) -> list[Waiting]:
    return [
        Waiting(
            f"{title_of(entry.decision)} ({entry.decision.window})",
            brief_reason(entry.decision),
            answers.get(entry.id, ""),
            entry.id,
            approval=True,
        )
        for entry in reversed(read_waiting(entries))
    ]


def _find_changed(faults: Sequence[str]) -> list[Waiting]:
    if not faults:
        return []
    then = "Nothing moves until the journal is restored or accepted: closedloop doctor"
    return [Waiting("The journal was changed by hand", name_some(faults, 3), then)]


def _find_moved(entries: Sequence[Entry], versions: Sequence[VersionFacts]) -> list[Waiting]:
    found = {alias: facts.version for facts in versions for alias in facts.aliases}
    disagreement = find_disagreement(entries, versions)
    if disagreement is not None:
        return [Waiting("Registry and journal disagree", str(disagreement), "closedloop doctor")]
    told = tell_moved(entries, Live(found.get(PRODUCTION), found.get(PREVIOUS)))
    return [Waiting("Moved outside of closedloop", moved) for moved in told]


def _find_escalations(entries: Sequence[Entry]) -> list[Waiting]:
    """The newest turn and the newest candidate, when they were left to a person."""
    found = []
    turns = [
        entry
        for entry in entries
        if entry.origin is not Origin.PERSON
        and entry.decision.kind in (Kind.RETRAINING, Kind.ROLLBACK)
    ]
    judged = [entry for entry in entries if entry.decision.kind is Kind.PROMOTION]
    for entry in (*judged[-1:], *turns[-1:]):
        if entry.decision.action is Action.ESCALATE:
            title = f"{title_of(entry.decision)} ({entry.decision.window})"
            found.append(Waiting(title, brief_reason(entry.decision), decision=entry.id))
    return found


def _find_kept_out(entries: Sequence[Entry]) -> list[Waiting]:
    return [
        Waiting(
            f"{standing.window} is kept out of training",
            standing.because,
            f"The next labelled window decides, or you: closedloop quarantine release "
            f"{standing.window}",
            standing.entry.id,
        )
        for standing in read_standings(entries).values()
        if standing.out and not standing.settled
    ]


def _find_unfinished(entries: Sequence[Entry]) -> list[Waiting]:
    unfinished = find_unfinished(entries)
    by_id = {entry.id: entry for entry in entries}
    return [
        Waiting(
            f"Decision {number} was not carried out",
            title_of(by_id[number].decision),
            "A training may be running. If none is: closedloop monitor",
            number,
        )
        for number in unfinished
    ]
