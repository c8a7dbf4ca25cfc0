"""The append-only journal of decisions and their outcomes: what was live when, and why.

A decision is written before it is carried out, under a key; writing the same key again returns what
was decided the first time. Rows are only ever added: a decision's outcome is a row of its own. A
change of the tables needs a revision in `migrations/`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, func, insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from closedloop.decisions.checks import Decision, Kind
from closedloop.errors import StoreError
from closedloop.storage.chain import (
    Chain,
    append_decision,
    append_outcome,
    chain_all,
    knows_head,
    read_chain,
    read_head,
)
from closedloop.storage.details import Details, record_of, write_details
from closedloop.storage.engine import read_only
from closedloop.storage.entry import Entry, read_entry
from closedloop.storage.journal_tables import DECISIONS, OUTCOMES
from closedloop.storage.rows import Origin, OutcomeNote, write_checks, write_note
from closedloop.storage.upgrade import prepare_tables


def _now() -> datetime:
    return datetime.now(UTC)


class Journal:
    """Reads and appends decisions. Safe to open from several processes at once."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] = _now) -> None:
        self._engine, self._now = engine, now
        self._ready = False

    def write(
        self,
        key: str,
        use_case: str,
        decision: Decision,
        *,
        details: Details | None = None,
        origin: Origin = Origin.LOOP,
        cause: int | None = None,
    ) -> Entry:
        """Write a decision down, once.

        A key that is there already returns its first entry unchanged.
        """
        facts = write_details(details or record_of(decision.kind)())
        row = {
            "key": key,
            "use_case": use_case,
            "kind": decision.kind.value,
            "action": decision.action.value,
            "window": decision.window,
            "version": decision.version,
            "checks": write_checks(decision.checks),
            "details": json.dumps({**facts, "origin": origin.value}, sort_keys=True),
            "cause": cause,
            "at": self._moment(),
        }
        try:
            with self._begin(self._engine) as connection:
                made = connection.execute(insert(DECISIONS).values(row)).inserted_primary_key
                assert made is not None
                if decision.kind is not Kind.SERVING:
                    append_decision(connection, use_case, made[0])
        except IntegrityError:
            pass
        except SQLAlchemyError as error:
            raise self._unreachable(error) from error
        entry = self.find(key)
        if entry is None:
            raise StoreError(
                where="journal",
                wanted=f"to write decision {key}",
                got="it is not there after writing",
                then="run: closedloop doctor",
            )
        return entry

    def carried_out(self, entry: Entry) -> None:
        """Note that a decision was carried out; the first outcome stays."""
        self._note(entry, "done", OutcomeNote())

    def supersede(self, entry: Entry, *, by: Entry | None = None, reason: str = "") -> None:
        """Note that a decision will not be carried out, because of another one or for a reason.

        The first outcome stays.
        """
        note = OutcomeNote(reason) if by is None else OutcomeNote("", by.id, by.decision.action)
        self._note(entry, "superseded", note)

    def find(self, key: str) -> Entry | None:
        """The entry written under `key`, if any."""
        found = self._read(DECISIONS.c.key == key)
        return found[0] if found else None

    def entry(self, number: int) -> Entry:
        """The entry with this id; raises StoreError when there is none."""
        found = self._read(DECISIONS.c.id == number)
        if not found:
            raise StoreError(
                where="journal",
                wanted="the id of a decision",
                got=str(number),
                then="list them with: closedloop history",
            )
        return found[0]

    def history(
        self, use_case: str, *, kinds: Collection[Kind] = tuple(Kind), after: int = 0
    ) -> tuple[Entry, ...]:
        """All decisions of a use case, or those of some kinds or `after` an id, oldest first."""
        asked = (DECISIONS.c.use_case == use_case) & (DECISIONS.c.id > after)
        if len(kinds) < len(Kind):
            asked &= DECISIONS.c.kind.in_([kind.value for kind in kinds])
        return tuple(self._read(asked))

    def newest(self, use_case: str, kind: Kind) -> Entry | None:
        """The newest decision of one kind, if any."""
        newest = (
            select(func.max(DECISIONS.c.id))
            .where(DECISIONS.c.use_case == use_case, DECISIONS.c.kind == kind.value)
            .scalar_subquery()
        )
        return next(iter(self._read(DECISIONS.c.id == newest)), None)

    def use_cases(self) -> tuple[str, ...]:
        """Every use case that something was decided about, in alphabetical order."""
        try:
            with self._begin(read_only(self._engine)) as connection:
                return tuple(
                    connection.execute(
                        select(DECISIONS.c.use_case).distinct().order_by(DECISIONS.c.use_case)
                    ).scalars()
                )
        except SQLAlchemyError as error:
            raise self._unreachable(error) from error

    def read_chain(self, use_case: str) -> Chain:
        """The chain of a use case: its head, and which decisions are not as they were written."""
        try:
            with self._begin(read_only(self._engine)) as connection:
                return read_chain(connection, use_case)
        except SQLAlchemyError as error:
            raise self._unreachable(error) from error

    def read_head(self, use_case: str) -> str:
        """The newest hash of the chain of a use case, to be kept elsewhere; empty without any."""
        try:
            with self._begin(read_only(self._engine)) as connection:
                return read_head(connection, use_case)
        except SQLAlchemyError as error:
            raise self._unreachable(error) from error

    def knows_head(self, use_case: str, head: str) -> bool:
        """Whether a head that was kept elsewhere is still in the chain."""
        try:
            with self._begin(read_only(self._engine)) as connection:
                return knows_head(connection, use_case, head)
        except SQLAlchemyError as error:
            raise self._unreachable(error) from error

    def chain_all(self, use_case: str) -> None:
        """Take every row as it is now, at a person's request."""
        try:
            with self._begin(self._engine) as connection:
                chain_all(connection, use_case)
        except SQLAlchemyError as error:
            raise self._unreachable(error) from error

    def _note(self, entry: Entry, outcome: str, note: OutcomeNote) -> None:
        row = {
            "decision": entry.id,
            "outcome": outcome,
            "detail": write_note(note),
            "at": self._moment(),
        }
        try:
            with self._begin(self._engine) as connection:
                connection.execute(insert(OUTCOMES).values(row))
                if entry.decision.kind is not Kind.SERVING:
                    append_outcome(connection, entry.use_case, entry.id)
        except IntegrityError:
            pass
        except SQLAlchemyError as error:
            raise self._unreachable(error) from error

    def _read(self, condition: Any) -> list[Entry]:
        query = (
            select(
                DECISIONS,
                OUTCOMES.c.outcome,
                OUTCOMES.c.detail,
                OUTCOMES.c.at.label("outcome_at"),
            )
            .outerjoin(OUTCOMES)
            .where(condition)
            .order_by(DECISIONS.c.id)
        )
        try:
            with self._begin(read_only(self._engine)) as connection:
                return [read_entry(row) for row in connection.execute(query).mappings()]
        except ValueError as error:  # of a time that SQLAlchemy cannot read
            raise StoreError(
                where="journal",
                wanted="rows as closedloop writes them",
                got=str(error),
                then="restore the database from a backup, or correct that row",
            ) from error
        except SQLAlchemyError as error:
            raise self._unreachable(error) from error

    def _moment(self) -> datetime:
        # In UTC, because SQLite drops the zone.
        return self._now().astimezone(UTC)

    def _begin(self, engine: Engine) -> Any:
        if not self._ready:
            prepare_tables(self._engine)
            self._ready = True
        return engine.begin()

    def _unreachable(self, error: SQLAlchemyError) -> StoreError:
        address = self._engine.url.render_as_string(hide_password=True)
        return StoreError(
            where="journal",
            wanted=f"to reach {address}",
            got=str(error).splitlines()[0],
            then="check CLOSEDLOOP_DATABASE_URL, the disk, and run: closedloop doctor",
        )
