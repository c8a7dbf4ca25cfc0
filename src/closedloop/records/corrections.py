"""Labels that were wrong: corrected on purpose, and kept with who corrected them and when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, String, func, insert, literal, select

from closedloop.records.label_rows import insert_labels, list_labels, listed, select_labels
from closedloop.records.tables import ANSWERS, CORRECTIONS, LABELS

WITHOUT_KEY = "without a key"


def correct(
    connection: Connection, wanted: Mapping[str, str], by: str | None, now: datetime
) -> tuple[int, dict[str, str]]:
    """Replace the labels on record that differ from `wanted`, in a transaction, and keep them.

    `by` is the name of the key; None without one. Returns how many were replaced, and which of
    `wanted` have no label yet.
    """
    if not wanted:
        return 0, {}
    # Locked on PostgreSQL, so that two corrections follow one another.
    query = select(LABELS.c.prediction_id, LABELS.c.label)
    query = query.where(LABELS.c.prediction_id.in_(listed(connection, wanted)))
    query = query.order_by(LABELS.c.prediction_id).with_for_update()
    found = {row.prediction_id: row.label for row in connection.execute(query)}
    other = {id: wanted[id] for id, label in found.items() if label != wanted[id]}
    if other:
        _keep(connection, other, by, now)
        new = select_labels(list_labels(other, now, connection))
        insert_labels(connection, new, replace=True)
    return len(other), {id: label for id, label in wanted.items() if id not in found}


def _keep(
    connection: Connection, corrected: Mapping[str, str], by: str | None, now: datetime
) -> None:
    """Copy the labels as they are into the history, in the database itself."""
    earlier = select(func.count()).where(CORRECTIONS.c.prediction_id == LABELS.c.prediction_id)
    rows = select(
        LABELS.c.prediction_id,
        earlier.correlate(LABELS).scalar_subquery() + 1,
        LABELS.c.request,
        LABELS.c.label,
        LABELS.c.at,
        literal(now, CORRECTIONS.c.replaced_at.type),
        literal(by, String()),
    ).where(LABELS.c.prediction_id.in_(listed(connection, corrected)))
    names = [column.name for column in CORRECTIONS.c]
    connection.execute(insert(CORRECTIONS).from_select(names, rows))


def count_corrected(
    connection: Connection, use_case: str, since: datetime, until: datetime, after: datetime
) -> int:
    """Predictions answered from `since` to before `until` with a label corrected after `after`."""
    query = (
        select(func.count(CORRECTIONS.c.prediction_id.distinct()))
        .select_from(CORRECTIONS.join(ANSWERS, CORRECTIONS.c.request == ANSWERS.c.request))
        .where(
            ANSWERS.c.use_case == use_case,
            ANSWERS.c.at >= since,
            ANSWERS.c.at < until,
            CORRECTIONS.c.replaced_at > after,
        )
    )
    return int(connection.execute(query).scalar_one())
