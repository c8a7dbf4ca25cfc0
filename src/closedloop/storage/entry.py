"""An entry of the journal: a decision as it was written down, with its facts and its outcome."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.errors import StoreError
from closedloop.storage.details import (
    Details,
    ServingDetails,
    TurnDetails,
    read_details,
    record_of,
    write_details,
)
from closedloop.storage.rows import Origin, OutcomeNote, read_checks, read_note, read_origin

_NO_NOTE = OutcomeNote()


@dataclass(frozen=True)
class Entry:
    """A decision as the journal holds it.

    `details` are the facts behind it; `cause` is the decision that led to it; `outcome` is None
    until it was carried out, then `done` or `superseded`, noted at `outcome_at`.
    """

    id: int
    key: str
    use_case: str
    decision: Decision
    details: Details
    origin: Origin
    cause: int | None
    at: datetime
    outcome: str | None = None
    note: OutcomeNote = _NO_NOTE
    outcome_at: datetime | None = None

    @property
    def turn(self) -> TurnDetails:
        """The facts of the look at a window that led to this decision; empty if there was none."""
        return self.details if isinstance(self.details, TurnDetails) else TurnDetails()

    @property
    def production(self) -> int | None:
        """The version that was live when this was decided."""
        return None if isinstance(self.details, ServingDetails) else self.details.production

    @property
    def bundle(self) -> str | None:
        """The sha256 of the files of the version that this is about; None where it is unknown."""
        return None if isinstance(self.details, ServingDetails) else self.details.bundle

    @property
    def by(self) -> str | None:
        """The person who decided; None for the loop, and where older versions did not keep it."""
        return None if isinstance(self.details, ServingDetails) else self.details.by

    @property
    def why(self) -> str | None:
        """The reason that was given, in the words of whoever decided."""
        return None if isinstance(self.details, ServingDetails) else self.details.why

    def as_json(self) -> dict[str, Any]:
        """What `closedloop history --json` prints."""
        decision = self.decision
        return {
            "id": self.id,
            "kind": decision.kind.value,
            "action": decision.action.value,
            "window": decision.window,
            "version": decision.version,
            "reason": decision.reason,
            "checks": [asdict(check) for check in decision.checks],
            "origin": self.origin.value,
            "cause": self.cause,
            "outcome": self.outcome,
            "outcome_detail": str(self.note),
            "at": self.at.isoformat(timespec="seconds"),
            "outcome_at": None
            if self.outcome_at is None
            else self.outcome_at.isoformat(timespec="seconds"),
            "use_case": self.use_case,
            "details": write_details(self.details),
        }


def read_entry(row: Any) -> Entry:
    """The entry of a row; raises StoreError for one that closedloop did not write."""
    try:
        return _read(row)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(
            where=f"journal, decision {row['id']}",
            wanted="a row as closedloop writes it",
            got=f"{type(error).__name__}: {error}",
            then="restore the database from a backup, or correct that row",
        ) from error


def _read(row: Any) -> Entry:
    kind, details = Kind(row["kind"]), json.loads(row["details"])
    return Entry(
        row["id"],
        row["key"],
        row["use_case"],
        Decision(
            kind,
            Action(row["action"]),
            row["window"],
            read_checks(row["checks"]),
            row["version"],
        ),
        read_details(record_of(kind), details),
        read_origin(details, row["key"]),
        row["cause"],
        _in_utc(row["at"]),
        row["outcome"],
        read_note(row["detail"] or ""),
        None if row["outcome_at"] is None else _in_utc(row["outcome_at"]),
    )


def _in_utc(moment: datetime) -> datetime:
    # SQLite keeps no zone, PostgreSQL answers in the zone of the session.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
