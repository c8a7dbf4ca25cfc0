"""Copies a use case's decisions and their outcomes from one database into another: all of them in
one transaction, or none.

Ids stay the same where they are free. Where another use case already uses some of them, all ids are
shifted by the same number, because their order matters and `cause` and outcomes refer to them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError

from closedloop.errors import StoreError
from closedloop.storage.chain import chain_all
from closedloop.storage.engine import read_only
from closedloop.storage.journal_tables import CHAIN, DECISIONS, OUTCOMES
from closedloop.storage.rows import read_note, write_note

_BATCH = 200  # decisions with all their checks, and ids in one query
Rewrite = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class JournalLeft:
    """What is not in the copy yet.

    Decisions, outcomes noted since they were copied, and by how much the newest ids are higher
    there.
    """

    decisions: int
    outcomes: int
    shift: int


@dataclass(frozen=True)
class _Plan:
    """`ids`: every decision's id -> its id in the copy. `missing` and `unnoted` are ids here: of
    decisions, and of those whose outcome is not in the copy."""

    ids: dict[int, int]
    missing: list[int]
    unnoted: list[int]
    shift: int


class JournalCopy:
    """One use case's decisions in `source`, which is only read, and in `target`."""

    def __init__(self, source: Engine, target: Engine, use_case: str) -> None:
        self._source, self._target, self._use_case = source, target, use_case

    def left_to_copy(self) -> JournalLeft:
        """What `copy` would do now; writes nothing, and makes no tables.

        Raises StoreError when the target holds decisions of this use case that are not copies, or
        when a database does not answer.
        """
        with _asking(read_only(self._target)) as there:
            plan = self._plan(there)
        return JournalLeft(
            len(plan.missing), len(set(plan.unnoted) - set(plan.missing)), plan.shift
        )

    def copy(self, rewrite: Rewrite) -> None:
        """Bring what is missing; `rewrite` turns a decision's details into those of its copy.

        The tables have to be there.
        """
        with _asking(self._target) as there:
            postgresql = (
                there.dialect.name == "postgresql"
            )  # SQLite's transaction keeps others from writing anyway
            if postgresql:
                there.execute(
                    text(
                        f"LOCK TABLE {DECISIONS.name}, {OUTCOMES.name} IN SHARE ROW EXCLUSIVE MODE"
                    )
                )
            plan = self._plan(there)
            for rows in self._read(DECISIONS, DECISIONS.c.id, plan.missing):
                there.execute(insert(DECISIONS), [_copied(row, plan.ids, rewrite) for row in rows])
            for rows in self._read(OUTCOMES, OUTCOMES.c.decision, plan.unnoted):
                there.execute(insert(OUTCOMES), [_noted(row, plan.ids) for row in rows])
            if plan.missing or plan.unnoted:
                self._copy_chain(there)
                chain_all(there, self._use_case)
            if postgresql and plan.missing:
                # Ids that were given do not move the sequence: the next decision would ask for one
                # that is taken.
                newest = select(func.max(DECISIONS.c.id)).scalar_subquery()
                there.execute(
                    select(func.setval(func.pg_get_serial_sequence(DECISIONS.name, "id"), newest))
                )

    def look_here(self) -> tuple[int, int]:
        """How many decisions there are here, and the highest version that one of them names."""
        found = self._list(self._source)
        return len(found), max((row.version or 0 for row in found), default=0)

    def tell_newest(self) -> tuple[str, str]:
        """The number of decisions and the newest one, here and in the target, in the same words."""
        return _tell(self._list(self._source)), _tell(self._list(self._target))

    # Inside

    def _list(self, engine: Engine) -> list[Any]:
        with _asking(read_only(engine)) as connection:
            return _decisions(connection, self._use_case)

    def _plan(self, there: Connection) -> _Plan:
        with _asking(read_only(self._source)) as here:
            mine, noted = _decisions(here, self._use_case), _noted_ids(here, self._use_case)
        copies = {row.key: row for row in _decisions(there, self._use_case)}
        foreign = set(copies) - {row.key for row in mine}
        ids: dict[int, int] = {}
        for row in mine:
            if (copy := copies.get(row.key)) is not None:
                ids[row.id] = copy.id
                if _facts(copy) != _facts(row):
                    foreign.add(row.key)
        if foreign:
            some = ", ".join(str(copies[key].id) for key in sorted(foreign)[:5])
            raise StoreError(
                where=f"journal at {_address(self._target)}",
                wanted=f"of {self._use_case} only copies of the decisions here",
                got=f"{len(foreign)} made there (ids {some})",
                then="the loop ran there too: continue there, or name another database; "
                "nothing was written",
            )
        missing = [row.id for row in mine if row.id not in ids]
        newest = max(ids, default=0)
        shift = ids[newest] - newest if ids else 0
        if _any_taken(there, [number + shift for number in missing]):
            shift = there.execute(select(func.max(DECISIONS.c.id))).scalar_one()
        copied = _noted_ids(there, self._use_case)
        ids |= {number: number + shift for number in missing}
        return _Plan(
            ids, missing, [number for number in sorted(noted) if ids[number] not in copied], shift
        )

    def _copy_chain(self, there: Connection) -> None:
        """Bring the links as history, below the epoch to come: a head that was kept is known."""
        ours = CHAIN.c.use_case == self._use_case
        with _asking(read_only(self._source)) as here:
            if not inspect(here).has_table(CHAIN.name):
                return
            links = here.execute(select(CHAIN).where(ours).order_by(CHAIN.c.id)).mappings().all()
        known = set(there.execute(select(CHAIN.c.hash).where(ours)).scalars())
        rows = [
            {name: value for name, value in link.items() if name != "id"}
            for link in links
            if link["hash"] not in known
        ]
        if rows:
            there.execute(insert(CHAIN), rows)

    def _read(self, table: Any, column: Any, ids: Sequence[int]) -> Iterator[list[Any]]:
        for batch in _batches(ids):
            with _asking(read_only(self._source)) as here:
                yield list(
                    here.execute(select(table).where(column.in_(batch)).order_by(column)).mappings()
                )


@contextmanager
def _asking(engine: Engine) -> Iterator[Connection]:
    """One transaction; a fault of the database is a StoreError that says which."""
    try:
        with engine.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        message = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
        raise StoreError(
            where="journal",
            wanted=f"to reach {_address(engine)}",
            got=message.splitlines()[0],
            then="check the address and that its server runs, and migrate again",
        ) from error


def _address(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def _batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))


def _decisions(connection: Connection, use_case: str) -> list[Any]:
    """All of them without checks and details, which are most of a decision."""
    if not inspect(connection).has_table(DECISIONS.name):
        return []
    columns = [DECISIONS.c[name] for name in ("id", "key", "at", "window", "action", "version")]
    return list(
        connection.execute(
            select(*columns).where(DECISIONS.c.use_case == use_case).order_by(DECISIONS.c.id)
        )
    )


def _noted_ids(connection: Connection, use_case: str) -> set[int]:
    if not inspect(connection).has_table(OUTCOMES.name):
        return set()
    query = select(OUTCOMES.c.decision).join(DECISIONS, OUTCOMES.c.decision == DECISIONS.c.id)
    return set(connection.execute(query.where(DECISIONS.c.use_case == use_case)).scalars())


def _any_taken(connection: Connection, ids: Sequence[int]) -> bool:
    if not inspect(connection).has_table(DECISIONS.name):
        return False
    return any(
        connection.execute(select(DECISIONS.c.id).where(DECISIONS.c.id.in_(batch)).limit(1)).first()
        for batch in _batches(ids)
    )


def _facts(row: Any) -> tuple[Any, ...]:
    return _utc(row.at), row.window, row.action, row.version


def _copied(row: Any, ids: dict[int, int], rewrite: Rewrite) -> dict[str, Any]:
    details = json.loads(row["details"])
    rewritten = rewrite(details)
    written = row["details"] if rewritten == details else json.dumps(rewritten, sort_keys=True)
    cause = None if row["cause"] is None else ids[row["cause"]]
    return {**row, "id": ids[row["id"]], "cause": cause, "details": written, "at": _utc(row["at"])}


def _noted(row: Any, ids: dict[int, int]) -> dict[str, Any]:
    detail, note = row["detail"], read_note(row["detail"])
    if note.superseded_by is not None:
        copy = ids.get(note.superseded_by, note.superseded_by)
        detail = write_note(replace(note, superseded_by=copy))
    return {**row, "decision": ids[row["decision"]], "detail": detail, "at": _utc(row["at"])}


def _utc(moment: datetime) -> datetime:
    # SQLite keeps no zone and means UTC, PostgreSQL answers in the zone of the session.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _tell(rows: Sequence[Any]) -> str:
    if not rows:
        return "none"
    at, window, action, version = _facts(rows[-1])
    of = "" if version is None else f", version {version}"
    return f"{len(rows)}, the newest: {action} ({window}{of}, {at:%Y-%m-%d %H:%M:%S})"
