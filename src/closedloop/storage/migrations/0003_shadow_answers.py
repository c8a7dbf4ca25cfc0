"""What a candidate answered in the shadow of production: recorded, never given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from alembic.operations import Operations

revision = "0003"
down_revision = "0002"


def upgrade(op: Operations) -> None:
    """Create the table of shadow answers."""
    op.create_table(
        "shadow_answers",
        sa.Column("request", sa.String(60), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("use_case", sa.String(100), nullable=False),
        sa.Column("probabilities", sa.Text),
        sa.Column("error", sa.Text),
        sqlite_with_rowid=False,
    )
    op.create_index("shadow_answers_by_version", "shadow_answers", ["use_case", "version"])
