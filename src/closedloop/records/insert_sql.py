"""The statements that insert answered requests: as few as possible, as one transaction.

Written by hand: the driver then does nearly all of the work outside of Python's lock, while the
same process goes on answering.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Any

from closedloop.errors import StoreError
from closedloop.records.request import AnsweredRequest, to_json

Statement = tuple[str, Sequence[Any]]  # SQL and its values
_COLUMNS = ("request", "use_case", "version", "at", "rows", "features", "probabilities", "row_keys")
_MAX_REQUESTS = 120  # in one statement; older versions of SQLite take at most 999 values


def insert_statements(
    requests: Sequence[AnsweredRequest], now: datetime, dialect: str
) -> list[Statement]:
    """The statements of one transaction; `now` is the time of a request that has none of its own.

    Raises StoreError for a time without a time zone.
    """
    at = _time(now, dialect)
    statements: list[Statement] = []
    for start in range(0, len(requests), _MAX_REQUESTS):
        batch = requests[start : start + _MAX_REQUESTS]
        values = chain.from_iterable(_values(request, at, dialect) for request in batch)
        insert = _insert(len(batch), dialect)
        keyed = [request.request for request in batch if request.keys]
        if keyed and dialect != "sqlite":
            insert = _insert_with_keys(len(batch))
        statements.append((insert, tuple(values)))
        if keyed and dialect == "sqlite":
            statements.append((_insert_keys(len(keyed)), keyed))
    return statements


@lru_cache(maxsize=2 * _MAX_REQUESTS)
def _insert(requests: int, dialect: str) -> str:
    row = f"({_placeholders(len(_COLUMNS), dialect)})"
    columns = ", ".join(f'"{name}"' for name in _COLUMNS)
    return f"INSERT INTO answers ({columns}) VALUES {', '.join([row] * requests)}"


@lru_cache(maxsize=_MAX_REQUESTS)
def _insert_keys(requests: int) -> str:
    """The keys of requests that were just inserted; SQLite itself splits their JSON."""
    return (
        'INSERT INTO answer_keys (use_case, key, at, request, "row") '
        "SELECT a.use_case, k.value, a.at, a.request, k.key "
        "FROM answers AS a, json_each(a.row_keys) AS k "
        f"WHERE a.request IN ({_placeholders(requests, 'sqlite')}) AND k.value IS NOT NULL"
    )


@lru_cache(maxsize=_MAX_REQUESTS)
def _insert_with_keys(requests: int) -> str:
    """Requests and their keys, without looking for these requests in each partition."""
    return (
        f"WITH a AS ({_insert(requests, 'postgresql')} RETURNING use_case, at, request, row_keys) "
        'INSERT INTO answer_keys (use_case, key, at, request, "row") '
        "SELECT a.use_case, k.value, a.at, a.request, k.ordinality - 1 FROM a, "
        "jsonb_array_elements_text(a.row_keys::jsonb) WITH ORDINALITY AS k(value, ordinality) "
        "WHERE k.value IS NOT NULL"
    )


def _placeholders(values: int, dialect: str) -> str:
    return ", ".join(["?" if dialect == "sqlite" else "%s"] * values)


def _values(request: AnsweredRequest, now: datetime | str, dialect: str) -> tuple[Any, ...]:
    return (
        request.request,
        request.use_case,
        request.version,
        now if request.at is None else _time(request.at, dialect),
        request.rows,
        request.features.decode(),
        request.probabilities.decode(),
        to_json(request.keys).decode() if request.keys else None,
    )


def _time(moment: datetime, dialect: str) -> datetime | str:
    if moment.tzinfo is None:
        raise StoreError(
            where="time of a prediction",
            wanted="an aware datetime",
            got=f"{moment}, which has no time zone",
            then="add its time zone",
        )
    moment = moment.astimezone(UTC)
    # SQLite has no type for times: this is the text that SQLAlchemy reads back, and it sorts by
    # time.
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}" if dialect == "sqlite" else moment
