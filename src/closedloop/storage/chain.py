"""The chain of the journal: each decision and each outcome carries the hash of the one before.

Who changes, removes or adds a row without the chain is found out. Who may write everything can also
write the whole chain anew: only a head that was kept elsewhere shows that.

Notes of services are no part of it: they decide nothing, and a service must not need the right to
write here. A person who accepts the journal as it is begins a new epoch, which has every row again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, text

from closedloop.decisions.checks import Kind
from closedloop.storage.journal_tables import CHAIN, DECISIONS, OUTCOMES

_DECISION, _OUTCOME = "decision", "outcome"
_Link = tuple[int, str]  # the id of a decision, and whether its decision or its outcome is meant


@dataclass(frozen=True)
class Chain:
    """The chain of a use case as it was found.

    `head` is the hash of its newest link, `links` how many there are; `faults` say which decisions
    are not as they were written, oldest first.
    """

    head: str
    links: int
    faults: tuple[str, ...] = ()


def append_decision(connection: Connection, use_case: str, number: int) -> None:
    """Chain a decision that was just written, in its transaction."""
    _append(connection, use_case, number, _DECISION)


def append_outcome(connection: Connection, use_case: str, number: int) -> None:
    """Chain the outcome of a decision that was just noted, in its transaction."""
    _append(connection, use_case, number, _OUTCOME)


def chain_all(connection: Connection, use_case: str) -> None:
    """Begin a new epoch: chain every row of a use case as it is now."""
    _lock(connection)
    before, _ = _newest(connection, use_case)
    highest = select(func.max(CHAIN.c.epoch)).where(CHAIN.c.use_case == use_case)
    epoch = connection.execute(highest).scalar() or 0
    links = []
    for link, content in _read_rows(connection, use_case):
        before = _hash(before, content)
        links.append(_row(use_case, epoch + 1, link, before))
    if links:
        connection.execute(insert(CHAIN), links)


def read_chain(connection: Connection, use_case: str) -> Chain:
    """Compare the rows of a use case with its chain."""
    newest, epoch = _newest(connection, use_case)
    of_use_case = CHAIN.c.use_case == use_case
    chained = connection.execute(
        select(CHAIN).where(of_use_case, CHAIN.c.epoch == epoch).order_by(CHAIN.c.id)
    ).all()
    contents = dict(_read_rows(connection, use_case))
    before = "" if not chained else _hash_before(connection, use_case, chained[0].id)
    faults, seen = [], set()
    for row in chained:
        link = (row.decision, row.entry)
        content = contents.get(link)
        if content is None:
            faults.append((link, "is gone"))
        elif row.hash != _hash(before, content) or link in seen:
            faults.append((link, "is not what was written"))
        seen.add(link)
        before = row.hash
    faults += [(link, "was not written by closedloop") for link in contents if link not in seen]
    told = (f"{_name(link)} {what}" for link, what in sorted(faults))
    return Chain(newest, len(chained), tuple(told))


def read_head(connection: Connection, use_case: str) -> str:
    """The hash of the newest link; empty without any."""
    return _newest(connection, use_case)[0]


def knows_head(connection: Connection, use_case: str, head: str) -> bool:
    """Whether a head that was kept elsewhere is one of the links, of any epoch."""
    ours = (CHAIN.c.use_case == use_case) & (CHAIN.c.hash == head)
    return connection.execute(select(CHAIN.c.id).where(ours).limit(1)).first() is not None


def _append(connection: Connection, use_case: str, number: int, entry: str) -> None:
    _lock(connection)
    before, epoch = _newest(connection, use_case)
    for link, content in _read_rows(connection, use_case, number):
        if link[1] == entry:
            row = _row(use_case, epoch, link, _hash(before, content))
            connection.execute(insert(CHAIN), row)


def _lock(connection: Connection) -> None:
    """Nobody else appends until the end of the transaction; SQLite's excludes all writers."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"LOCK TABLE {CHAIN.name} IN EXCLUSIVE MODE"))


def _newest(connection: Connection, use_case: str) -> tuple[str, int]:
    """The hash of the newest link of a use case and its epoch."""
    query = select(CHAIN.c.hash, CHAIN.c.epoch).where(CHAIN.c.use_case == use_case)
    found = connection.execute(query.order_by(CHAIN.c.id.desc()).limit(1)).first()
    return ("", 0) if found is None else (found.hash, found.epoch)


def _hash_before(connection: Connection, use_case: str, first: int) -> str:
    earlier = select(func.max(CHAIN.c.id)).where(CHAIN.c.use_case == use_case, CHAIN.c.id < first)
    query = select(CHAIN.c.hash).where(CHAIN.c.id == earlier.scalar_subquery())
    return connection.execute(query).scalar() or ""


def _read_rows(
    connection: Connection, use_case: str, number: int | None = None
) -> Iterator[tuple[_Link, bytes]]:
    """The sha256 of each decision and of its outcome, or those of one decision, by id."""
    ours = (DECISIONS.c.use_case == use_case) & (DECISIONS.c.kind != Kind.SERVING.value)
    if number is not None:
        ours &= DECISIONS.c.id == number
    noted = [column.label(f"noted_{column.name}") for column in OUTCOMES.c]
    query = select(DECISIONS, *noted).outerjoin(OUTCOMES).where(ours).order_by(DECISIONS.c.id)
    for row in connection.execute(query):
        decision, outcome = tuple(row[: len(DECISIONS.c)]), tuple(row[len(DECISIONS.c) :])
        yield (row.id, _DECISION), _digest(decision)
        if row.noted_decision is not None:
            yield (row.id, _OUTCOME), _digest(outcome)


def _digest(values: tuple[Any, ...]) -> bytes:
    return hashlib.sha256(json.dumps([_plain(value) for value in values]).encode()).digest()


def _plain(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    # SQLite keeps no zone and means UTC, PostgreSQL answers in the zone of the session.
    moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return moment.isoformat()


def _hash(before: str, content: bytes) -> str:
    return hashlib.sha256(before.encode() + content).hexdigest()


def _row(use_case: str, epoch: int, link: _Link, hash: str) -> dict[str, Any]:
    number, entry = link
    return {
        "use_case": use_case,
        "epoch": epoch,
        "decision": number,
        "entry": entry,
        "hash": hash,
    }


def _name(link: _Link) -> str:
    number, entry = link
    return f"decision {number}" if entry == _DECISION else f"the outcome of decision {number}"
