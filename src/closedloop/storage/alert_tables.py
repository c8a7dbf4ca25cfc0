"""The tables of alerts and of notes. A change needs a revision in `migrations/`."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, ForeignKey, Integer, String, Table, Text

from closedloop.storage.journal_tables import METADATA

ALERTS = Table(
    "alerts",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("key", String(300), nullable=False, unique=True),
    Column("use_case", String(100), nullable=False, index=True),
    Column("event", String(40), nullable=False),
    Column("content", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
)
# Before `next_at` nobody sends: a sender sets it when it begins, so that no other does the same.
DELIVERIES = Table(
    "alert_deliveries",
    METADATA,
    Column("alert", Integer, ForeignKey("alerts.id"), primary_key=True),
    Column("channel", String(40), primary_key=True),
    Column("attempts", Integer, nullable=False),
    Column("next_at", DateTime(timezone=True), nullable=False),
    Column("sent_at", DateTime(timezone=True)),
    Column("given_up_at", DateTime(timezone=True)),
    Column("last_error", Text, nullable=False),
)
# What is known of a use case besides its decisions, by name, such as when the last turn ended.
NOTES = Table(
    "loop_notes",
    METADATA,
    Column("use_case", String(100), primary_key=True),
    Column("name", String(60), primary_key=True),
    Column("text", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
)
