"""The tables of the first release: those of the journal and those of the records.

The only revision that creates what is missing: a database that is older than the revisions has some
or all of these tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    """Create the tables of the journal and of the records."""
    _make_journal(op)
    _make_records(op)


def _make_journal(op: Operations) -> None:
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(300), nullable=False, unique=True),
        sa.Column("use_case", sa.String(100), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("window", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer),
        sa.Column("checks", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("cause", sa.Integer, sa.ForeignKey("decisions.id")),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_decisions_use_case", "decisions", ["use_case"], if_not_exists=True)
    op.create_table(
        "outcomes",
        sa.Column("decision", sa.Integer, sa.ForeignKey("decisions.id"), primary_key=True),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        if_not_exists=True,
    )


def _make_records(op: Operations) -> None:
    op.create_table(
        "answers",
        sa.Column("request", sa.String(60), primary_key=True),
        sa.Column("use_case", sa.String(100), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("features", sa.Text, nullable=False),
        sa.Column("probabilities", sa.Text, nullable=False),
        sa.Column("row_keys", sa.Text),
        if_not_exists=True,
    )
    op.create_index("answers_by_time", "answers", ["use_case", "at"], if_not_exists=True)
    op.create_table(
        "answer_keys",
        sa.Column("use_case", sa.String(100), primary_key=True),
        sa.Column("key", sa.String(500), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("request", sa.String(60), primary_key=True),
        sa.Column("row", sa.Integer, primary_key=True),
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    op.create_table(
        "answer_labels",
        sa.Column("prediction_id", sa.String(80), primary_key=True),
        sa.Column("request", sa.String(60), nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_answer_labels_request", "answer_labels", ["request"], if_not_exists=True)
    op.create_table(
        "record_probes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("padding", sa.Text, nullable=False),
        if_not_exists=True,
    )
