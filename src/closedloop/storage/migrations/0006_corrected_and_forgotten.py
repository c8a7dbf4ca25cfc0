"""What labels were before they were corrected, by whom; and the rows of a request that were erased.

Corrected labels stood among the labels as ID~1, ID~2, ...: they move to the history. Who corrected
them was not kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from alembic.operations import Operations

revision = "0006"
down_revision = "0005"

_MOMENT = sa.DateTime(timezone=True)
_LABELS = sa.table(
    "answer_labels",
    *(sa.column(name) for name in ("prediction_id", "request", "label")),
    sa.column("at", _MOMENT),
)


def upgrade(op: Operations) -> None:
    """Create the history of labels, move what is one into it, and add the erased rows."""
    op.add_column("answers", sa.Column("forgotten", sa.Text))
    history = op.create_table(
        "label_corrections",
        sa.Column("prediction_id", sa.String(80), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("request", sa.String(60), nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("recorded_at", _MOMENT, nullable=False),
        sa.Column("replaced_at", _MOMENT, nullable=False),
        sa.Column("replaced_by", sa.String(100)),
    )
    op.create_index("ix_label_corrections_request", "label_corrections", ["request"])
    connection = op.get_bind()
    replaced = _LABELS.c.prediction_id.contains("~")
    rows = connection.execute(sa.select(_LABELS).where(replaced)).all()
    if not rows:
        return
    ids = {row.prediction_id.rpartition("~")[0] for row in rows}
    newest = {
        row.prediction_id: row.at
        for row in connection.execute(sa.select(_LABELS).where(~replaced))
        if row.prediction_id in ids
    }
    op.bulk_insert(history, _history(rows, newest))
    connection.execute(sa.delete(_LABELS).where(replaced))


def _history(rows: Any, newest: dict[str, Any]) -> list[dict[str, Any]]:
    """Each was replaced when the next one was recorded."""
    at = {row.prediction_id: row.at for row in rows}
    moved = []
    for row in rows:
        id, _, number = row.prediction_id.rpartition("~")
        following = at.get(f"{id}~{int(number) + 1}", newest.get(id, row.at))
        moved.append(
            {
                "prediction_id": id,
                "number": int(number),
                "request": row.request,
                "label": row.label,
                "recorded_at": row.at,
                "replaced_at": following,
                "replaced_by": None,
            }
        )
    return moved
