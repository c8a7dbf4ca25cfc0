"""On PostgreSQL, answers and their keys lie in partitions by time: old ones can be dropped whole.

The tables as they are become the oldest partition, which ends with this month: no row is copied.
What is later, by a clock that was ahead, moves into the open partition. SQLite stays as it is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from alembic.operations import Operations
    from sqlalchemy import Connection

revision = "0007"
down_revision = "0006"

_RIGHTS = sa.text(
    "SELECT privilege_type, CASE grantee WHEN 0 THEN 'PUBLIC'"
    " ELSE quote_ident(pg_get_userbyid(grantee)) END, is_grantable"
    " FROM pg_class, aclexplode(relacl) WHERE oid = CAST(:name AS regclass)"
)
_OWNER = sa.text(
    "SELECT quote_ident(pg_get_userbyid(relowner)) FROM pg_class"
    " WHERE oid = CAST(:name AS regclass)"
)


def upgrade(op: Operations) -> None:
    """Make both tables partitioned, with two partitions each."""
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    now: datetime = connection.execute(sa.text("SELECT now()")).scalar_one().astimezone(UTC)
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = (first + timedelta(days=32)).replace(day=1)
    connection.exec_driver_sql("LOCK TABLE answers, answer_keys IN ACCESS EXCLUSIVE MODE")
    # A partitioned table cannot have a key without the time: each partition has its own.
    _partition(
        connection,
        "answers",
        end,
        indexes=("answers_by_time", "answers_pkey"),
        own_key="(PRIMARY KEY (request))",
        make="CREATE INDEX answers_by_time ON answers (use_case, at)",
    )
    _partition(
        connection,
        "answer_keys",
        end,
        indexes=("answer_keys_pkey",),
        own_key="",
        make='ALTER TABLE answer_keys ADD PRIMARY KEY (use_case, key, at, request, "row")',
    )


def _partition(
    connection: Connection,
    table: str,
    end: datetime,
    *,
    indexes: tuple[str, ...],
    own_key: str,
    make: str,
) -> None:
    """`own_key` is what each partition has, `make` what all have; their names must be free."""
    old, following = f"{table}_before_{end:%Y_%m}", f"{table}_open"
    renamed = [f"ALTER INDEX {name} RENAME TO {name}_before_{end:%Y_%m}" for name in indexes]
    for statement in (
        f"ALTER TABLE {table} RENAME TO {old}",
        *renamed,
        f"CREATE TABLE {table} (LIKE {old} INCLUDING DEFAULTS) PARTITION BY RANGE (at)",
        make,
        f"CREATE TABLE {following} PARTITION OF {table} {own_key}"
        f" FOR VALUES FROM ('{end.isoformat()}') TO (MAXVALUE)",
        f"WITH later AS (DELETE FROM {old} WHERE at >= '{end.isoformat()}' RETURNING *)"
        f" INSERT INTO {following} SELECT * FROM later",
        f"ALTER TABLE {table} ATTACH PARTITION {old}"
        f" FOR VALUES FROM (MINVALUE) TO ('{end.isoformat()}')",
    ):
        connection.exec_driver_sql(statement)
    owner = connection.execute(_OWNER, {"name": old}).scalar_one()
    for name in (table, following):
        connection.exec_driver_sql(f"ALTER TABLE {name} OWNER TO {owner}")
    # Rights on a partition count for nothing when it is reached by the table.
    for right, role, is_grantable in connection.execute(_RIGHTS, {"name": old}).all():
        ending = " WITH GRANT OPTION" if is_grantable else ""
        connection.exec_driver_sql(f"GRANT {right} ON {table} TO {role}{ending}")
