"""What was live when: read from the journal, which says what was decided and what answered.

A version is live from the moment that its move was noted as carried out until that of the next
move: the first moment is part of it, the last one is not. All times are UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from closedloop.decisions.checks import Action, Kind
from closedloop.errors import UseCaseError
from closedloop.storage.details import ServingDetails
from closedloop.storage.entry import Entry
from closedloop.storage.journal import Journal
from closedloop.storage.rows import Origin
from closedloop.turn.moved_aliases import KINDS, MOVES

# A query string turns the + of a zone into a space.
_LOST_PLUS = re.compile(r"(:\d\d(?:\.\d+)?) (\d\d:?\d\d)$")
_CLOCKS_DIFFER = timedelta(minutes=1)


@dataclass(frozen=True)
class Answered:
    """A service began to answer with a version."""

    version: int | None
    at: datetime
    service: str | None


@dataclass(frozen=True)
class LiveAt:
    """What was live at a moment; `version` is None when nothing was.

    `began` is the decision that made it live, None before the first one, and `ended` the one that
    took it away, None while it is live. `begun` is a move that was decided by then and not yet
    noted as carried out: services may have followed it already. `outside` is the newest note that
    somebody had moved `production` outside of closedloop. `answered` is when services began to
    answer, from the decision up to the moment, the newest of each service and version.
    """

    at: datetime
    began: Entry | None = None
    since: datetime | None = None
    ended: Entry | None = None
    until: datetime | None = None
    begun: Entry | None = None
    outside: Entry | None = None
    answered: tuple[Answered, ...] = ()

    @property
    def version(self) -> int | None:
        return None if self.began is None else self.began.decision.version

    @property
    def answered_since(self) -> datetime | None:
        """When the first service answered with this version; None when none noted it by then."""
        return min(
            (note.at for note in self.answered if note.version == self.version), default=None
        )

    def as_json(self) -> dict[str, Any]:
        """What `closedloop live --json` prints and `GET /api/live` answers."""
        return {
            "at": _write(self.at),
            "version": self.version,
            "since": _write(self.since),
            "decision": describe_decision(self.began),
            "until": _write(self.until),
            "ended_by": describe_decision(self.ended),
            "moving": describe_decision(self.begun),
            "moved_outside": describe_decision(self.outside),
            "answered_since": _write(self.answered_since),
            "answered": [
                {"version": note.version, "since": _write(note.at), "service": note.service}
                for note in self.answered
            ],
        }


def read_moment(text: str, now: datetime) -> datetime:
    """A date or a time in ISO 8601, in UTC; without a zone it is UTC, a date is its first moment.

    Raises UseCaseError for anything else, and for a moment that is still to come.
    """
    try:
        read = datetime.fromisoformat(_LOST_PLUS.sub(r"\1+\2", text.strip()))
        moment = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UseCaseError(
            where="time",
            wanted="a date or a time such as 2026-11-20, 2026-11-20T14:30 or "
            "2026-11-20T14:30:00+01:00",
            got=repr(text[:60]),
            then="write it that way; without a zone it is UTC",
        ) from None
    if moment > now + _CLOCKS_DIFFER:
        raise UseCaseError(
            where="time",
            wanted=f"a moment up to now, {_write(now)}",
            got=_write(moment) or "",
            then="leave it out to see what is live now",
        )
    return moment


def live_at(journal: Journal, use_case: str, moment: datetime) -> LiveAt:
    """What was live at a moment, with a zone; see `find_live`."""
    return find_live(journal.history(use_case, kinds=(*KINDS, Kind.SERVING)), moment)


def find_live(entries: Sequence[Entry], moment: datetime) -> LiveAt:
    """What was live at a moment, by the decisions and notes of a use case, oldest first."""
    moves = _find_moves(entries)
    before = [move for move in moves if move[1] <= moment]
    began, since = before[-1] if before else (None, None)
    ended, until = moves[len(before)] if len(before) < len(moves) else (None, None)
    known = [entry for entry in entries if entry.at <= moment]
    begun = [entry for entry in known if _is_open_at(entry, moment)]
    seen = [entry for entry in known if began is None or entry.at >= began.at]
    return LiveAt(
        moment,
        began,
        since,
        ended,
        until,
        begun[-1] if begun else None,
        _find_outside(seen),
        _find_answers(seen),
    )


def find_move_to(entries: Iterable[Entry], version: int, moment: datetime) -> Entry | None:
    """The newest decision by then that makes a version live, whether or not it was noted as done.

    A service may follow a move before the journal notes its outcome.
    """
    found = None
    for entry in entries:
        moves = entry.decision.action in MOVES and entry.decision.version == version
        if moves and entry.outcome != "superseded" and entry.at <= moment:
            found = entry
    return found


def _find_moves(entries: Iterable[Entry]) -> list[tuple[Entry, datetime]]:
    """Every move that was carried out, and since when it counts.

    A clock that was set back makes no move older than the one before it.
    """
    found: list[tuple[Entry, datetime]] = []
    for entry in entries:
        if entry.decision.action in MOVES and entry.outcome == "done" and entry.outcome_at:
            before = found[-1][1] if found else entry.outcome_at
            found.append((entry, max(before, entry.outcome_at)))
    return found


def _is_open_at(entry: Entry, moment: datetime) -> bool:
    """Whether a move was decided by then and had no outcome yet."""
    return entry.decision.action in MOVES and (
        entry.outcome_at is None or entry.outcome_at > moment
    )


def _find_outside(entries: Iterable[Entry]) -> Entry | None:
    """The note that `production` stands elsewhere; None once it is back, or was settled."""
    notes = [entry for entry in entries if entry.decision.kind is Kind.OUTSIDE]
    return notes[-1] if notes and notes[-1].decision.action is Action.ESCALATE else None


def _find_answers(entries: Iterable[Entry]) -> tuple[Answered, ...]:
    """The newest note of each service and version, oldest first."""
    newest: dict[tuple[str | None, int | None], Answered] = {}
    for entry in entries:
        if entry.decision.action is Action.SERVE and isinstance(entry.details, ServingDetails):
            service, version = entry.details.service, entry.decision.version
            newest.pop((service, version), None)
            newest[service, version] = Answered(version, entry.at, service)
    return tuple(newest.values())


def describe_decision(entry: Entry | None) -> dict[str, Any] | None:
    """A decision in a few facts: what, when, by whom and why."""
    if entry is None:
        return None
    return {
        "id": entry.id,
        "action": entry.decision.action.value,
        "version": entry.decision.version,
        "window": entry.decision.window,
        "origin": entry.origin.value,
        "by": name_decider(entry),
        "reason": entry.decision.reason,
        "decided": _write(entry.at),
        "carried_out": _write(entry.outcome_at) if entry.outcome == "done" else None,
    }


def name_decider(entry: Entry) -> str:
    """Who decided: the loop or a person, by name where the journal has it."""
    return entry.by or ("the loop" if entry.origin is Origin.LOOP else "a person")


def _write(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="microseconds")
