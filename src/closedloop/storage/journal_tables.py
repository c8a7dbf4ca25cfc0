"""The tables of the journal. A change needs a revision in `migrations/`."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, ForeignKey, Integer, MetaData, String, Table, Text

METADATA = MetaData()
DECISIONS = Table(
    "decisions",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("key", String(300), nullable=False, unique=True),
    Column("use_case", String(100), nullable=False, index=True),
    Column("kind", String(20), nullable=False),
    Column("action", String(20), nullable=False),
    Column("window", String(200), nullable=False),
    Column("version", Integer),
    Column("checks", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("cause", Integer, ForeignKey("decisions.id")),
    Column("at", DateTime(timezone=True), nullable=False),
)
OUTCOMES = Table(
    "outcomes",
    METADATA,
    Column("decision", Integer, ForeignKey("decisions.id"), primary_key=True),
    Column("outcome", String(20), nullable=False),
    Column("detail", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
)
# No reference to the decisions: it has to tell of those that are gone.
CHAIN = Table(
    "journal_chain",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("use_case", String(100), nullable=False, index=True),
    Column("epoch", Integer, nullable=False),
    Column("decision", Integer, nullable=False),
    Column("entry", String(10), nullable=False),
    Column("hash", String(64), nullable=False),
)
