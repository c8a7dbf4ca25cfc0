"""What a PostgreSQL with partitions holds, and where."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from closedloop.records.store import Records
from closedloop.storage import partitions
from closedloop.storage.partitions import Partition, read_partitions
from tests.answers import describe_answers


def found_in(engine: Engine) -> list[Partition]:
    with engine.begin() as connection:
        return read_partitions(connection)


def make(engine: Engine, now: datetime) -> None:
    with engine.begin() as connection:
        partitions.make_ahead(connection, now)


def append(engine: Engine, name: str, at: datetime) -> None:
    records = Records(engine)
    records.append(
        [describe_answers("shop", 3, {"a": [1.0]}, {"yes": [0.5]}, request=name, keys=["k"], at=at)]
    )
    records.close()


def where(engine: Engine) -> dict[str, str]:
    """The partition of every request; a key is in that of the same name."""
    with engine.begin() as connection:
        found = {
            table: dict(
                connection.execute(
                    text(f"SELECT request, CAST(CAST(tableoid AS regclass) AS text) FROM {table}")
                ).all()
            )
            for table in partitions.TABLES
        }
    answers, keys = (
        {name: part.removeprefix(f"{table}_") for name, part in parts.items()}
        for table, parts in found.items()
    )
    assert keys.items() <= answers.items()
    return answers


def clock_of(engine: Engine) -> datetime:
    with engine.begin() as connection:
        now: datetime = connection.execute(text("SELECT now()")).scalar_one()
    return now.astimezone(UTC)


def address_of(engine: Engine) -> str:
    """For PostgreSQL's own programs."""
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def next_month(moment: datetime) -> datetime:
    first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)
