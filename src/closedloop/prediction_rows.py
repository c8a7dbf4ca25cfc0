"""A prediction as the database takes it: one statement for many rows, written by hand.

The driver then does nearly all of the work outside of Python's lock, while the same process goes on answering.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from closedloop.errors import StoreError

if TYPE_CHECKING:
    from closedloop.records import Prediction

_COLUMNS = ("id", "use_case", "version", "at", "key", "features", "probabilities", "prediction")
_MOST_ROWS = 120  # SQLite's older limit is 999 values


def insert_statements(predictions: Sequence[Prediction], now: datetime, dialect: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """SQL and its values, for at most 120 rows each. `now` is the time of predictions without one of their own.

    Raises StoreError for a time without zone.
    """
    at = _time(now, dialect)
    for start in range(0, len(predictions), _MOST_ROWS):
        rows = [_values(one, at, dialect) for one in predictions[start : start + _MOST_ROWS]]
        yield _insert(len(rows), dialect), tuple(chain.from_iterable(rows))


@lru_cache(maxsize=2 * _MOST_ROWS)
def _insert(rows: int, dialect: str) -> str:
    row = f"({', '.join(['?' if dialect == 'sqlite' else '%s'] * len(_COLUMNS))})"
    return f"INSERT INTO predictions ({', '.join(_COLUMNS)}) VALUES {', '.join([row] * rows)}"


def _values(one: Prediction, now: datetime | str, dialect: str) -> tuple[Any, ...]:
    return (one.id, one.use_case, one.version, now if one.at is None else _time(one.at, dialect), one.key, _as_json(one.features),
            _as_json(one.probabilities), one.prediction)  # fmt: skip


def _time(moment: datetime, dialect: str) -> datetime | str:
    if moment.tzinfo is None:
        raise StoreError(where="time of a prediction", wanted="an aware datetime", got=f"{moment}, which has no time zone",
                         then="say in which zone it is meant")  # fmt: skip
    moment = moment.astimezone(UTC)
    # SQLite has no times: this is the text that SQLAlchemy reads back and that sorts by time.
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}" if dialect == "sqlite" else moment


def _as_json(values: Mapping[str, float | str | None]) -> str:
    return msgspec.json.encode(values, enc_hook=_plain).decode()


def _plain(value: Any) -> Any:
    """What msgspec does not know: mappings that are no dictionaries, and NumPy's numbers."""
    return dict(value) if isinstance(value, Mapping) else value.item()
