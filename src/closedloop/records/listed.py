"""A list of values as a table in a query: one statement, and one parameter, for any number of them.

The database takes the list apart itself, outside of Python's lock. Ten thousand look-ups, each with
a statement of its own, took the same process three seconds from whoever waited for an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.dialects.postgresql import JSONB

from closedloop.records.request import to_json


class Listed:
    """Rows of texts, times and None as the `table` of a query; `written` is their JSON."""

    def __init__(self, rows: Sequence[Sequence[str | datetime | None]], dialect: str) -> None:
        self._on_server = dialect == "postgresql"
        self.written = to_json([[_write(value) for value in row] for row in rows]).decode()
        rows_of = sa.func.jsonb_array_elements if self._on_server else sa.func.json_each
        text = sa.literal(self.written, sa.Text())
        given = sa.cast(text, JSONB) if self._on_server else text
        self.table = rows_of(given).table_valued("value", name="listed")

    def text(self, field: int) -> ColumnElement[str]:
        """The field with this number in every row."""
        value = self.table.c.value
        return (
            value.op("->>", return_type=sa.Text())(sa.literal_column(str(field)))
            if self._on_server
            else sa.func.json_extract(value, f"$[{field}]", type_=sa.Text())
        )

    def time(self, field: int) -> ColumnElement[datetime]:
        """The same for a field that holds times, to compare with a column of times."""
        written = self.text(field)
        moment = sa.DateTime(timezone=True)
        return sa.cast(written, moment) if self._on_server else sa.type_coerce(written, moment)


def list_texts(values: Iterable[str], dialect: str) -> ColumnElement[str]:
    """The column of a table that holds these texts: quicker than rows of a single one."""
    on_server = dialect == "postgresql"
    rows_of = sa.func.jsonb_array_elements_text if on_server else sa.func.json_each
    text = sa.literal(to_json(list(values)).decode(), sa.Text())
    given = sa.cast(text, JSONB) if on_server else text
    column: ColumnElement[str] = rows_of(given).table_valued("value", name="listed").c.value
    return column


def _write(value: str | datetime | None) -> str | None:
    # As SQLite's rows hold times: text without a zone, which means UTC and sorts by time.
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(' ', 'microseconds')}"
    return value
