"""A chain of hashes over the decisions of the journal and their outcomes.

What is there is chained as it is. Notes of services are no part of it.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from alembic.operations import Operations

revision = "0002"
down_revision = "0001"

_DECISION = (
    *("id", "key", "use_case", "kind", "action", "window", "version", "checks", "details"),
    *("cause", "at"),
)
_OUTCOME = ("decision", "outcome", "detail", "at")


def upgrade(op: Operations) -> None:
    """Create the chain and chain every decision with its outcome."""
    chain = op.create_table(
        "journal_chain",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("use_case", sa.String(100), nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("decision", sa.Integer, nullable=False),
        sa.Column("entry", sa.String(10), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_index("ix_journal_chain_use_case", "journal_chain", ["use_case"])
    connection, heads, links = op.get_bind(), dict[str, str](), list[dict[str, Any]]()
    decisions, outcomes = _table("decisions", _DECISION), _table("outcomes", _OUTCOME)
    noted = {row.decision: tuple(row) for row in connection.execute(sa.select(outcomes))}
    ours = sa.select(decisions).where(decisions.c.kind != "serving").order_by(decisions.c.id)
    for row in connection.execute(ours):
        rows = [("decision", tuple(row))]
        rows += [("outcome", noted[row.id])] if row.id in noted else []
        for entry, values in rows:
            heads[row.use_case] = _hash(heads.get(row.use_case, ""), values)
            links.append(
                {
                    "use_case": row.use_case,
                    "epoch": 0,
                    "decision": row.id,
                    "entry": entry,
                    "hash": heads[row.use_case],
                }
            )
    if links:
        op.bulk_insert(chain, links)


def _table(name: str, columns: tuple[str, ...]) -> Any:
    moment = sa.DateTime(timezone=True)
    return sa.table(
        name, *(sa.column(column, moment if column == "at" else None) for column in columns)
    )


def _hash(before: str, values: tuple[Any, ...]) -> str:
    content = hashlib.sha256(json.dumps([_plain(value) for value in values]).encode()).digest()
    return hashlib.sha256(before.encode() + content).hexdigest()


def _plain(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return moment.isoformat()
