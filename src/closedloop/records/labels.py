"""Labels of recorded predictions: given by id or by key (and time), and changed only on purpose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, Text, cast, column, func, select, table

from closedloop.errors import LabelConflict, StoreError
from closedloop.records.corrections import correct
from closedloop.records.label_rows import (
    COLUMNS,
    among,
    insert_labels,
    list_labels,
    listed,
    select_labels,
)
from closedloop.records.listed import Listed
from closedloop.records.request import name_prediction, read_forgotten, split_prediction_id
from closedloop.records.tables import ANSWERS, KEYS, LABELS

_LAST = datetime(9999, 12, 31, tzinfo=UTC)  # for a key without a time
_PREPARED = table("prepared_labels", *(column(name) for name in COLUMNS))


class UnknownPrediction(StoreError):
    """A label for a prediction that was never recorded."""


@dataclass(frozen=True)
class Label:
    """The label of one prediction: that with this `id`, or the newest with this `key`.

    Exactly one of both must be given. `at`, an aware time beside the key, selects the newest
    prediction answered at or before it. `replaces` corrects another label that is on record.
    """

    label: str
    id: str | None = None
    key: str | None = None
    at: datetime | None = None
    replaces: bool = False

    def __post_init__(self) -> None:
        if (self.id is None) == (self.key is None):
            raise ValueError("a label needs either the id of a prediction or its key")
        if self.at is not None and (self.key is None or self.at.tzinfo is None):
            raise ValueError("the time of a label needs a key and a time zone")


@dataclass(frozen=True)
class Named:
    """Labels whose predictions were found. `missing` and `corrected`: prediction id -> label.

    Of those `corrected`, some may have no label yet, or the same.
    """

    missing: dict[str, str]
    corrected: dict[str, str]


def name_predictions(
    connection: Connection, labels: Sequence[Label], use_case: str | None
) -> Named:
    """What the labels name, and which are not on record yet. Only reads.

    Raises UnknownPrediction or LabelConflict.
    """
    wanted, replacing = _find_predictions(connection, labels, use_case)
    given = {id: label for id, label in wanted.items() if id not in replacing}
    existing = _read_labels(connection, given)
    _refuse_conflicts(existing, given)
    # Sorted, so that two writers of the same labels wait for each other instead of deadlocking.
    return Named(
        {id: label for id, label in sorted(given.items()) if id not in existing},
        {id: wanted[id] for id in sorted(replacing)},
    )


def write_labels(connection: Connection, named: Named, now: datetime, by: str | None = None) -> int:
    """In a transaction, insert the labels and correct those to replace; returns how many changed.

    `by` is the name of the key that corrects.

    Raises LabelConflict when another writer was first; then nothing is recorded.
    """
    missing = named.missing
    rows = _prepare(connection, missing, now)
    with connection.begin():
        corrected, more = correct(connection, named.corrected, by, now)
        if more:
            missing = dict(sorted((missing | more).items()))
            rows = select_labels(list_labels(missing, now, connection))
        inserted = insert_labels(connection, rows)
        if inserted < len(missing):
            _refuse_conflicts(_read_labels(connection, missing), missing)
    return inserted + corrected


def _prepare(connection: Connection, labels: Mapping[str, str], now: datetime) -> Select[Any]:
    """The labels as rows to be inserted.

    On SQLite they are in a temporary table of this connection: to take a list apart takes longer
    than to insert its rows, and would keep others from recording.
    """
    rows = list_labels(labels, now, connection)
    if connection.dialect.name != "sqlite":
        return select_labels(rows)
    driver: Any = connection.connection.driver_connection  # outside of any transaction
    driver.execute(f"CREATE TEMP TABLE IF NOT EXISTS {_PREPARED.name} ({', '.join(COLUMNS)})")
    driver.execute(f"DELETE FROM {_PREPARED.name}")
    fields = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(COLUMNS)))
    insert = f"INSERT INTO {_PREPARED.name} SELECT {fields} FROM json_each(?)"
    driver.execute(insert, (rows.written,))
    return select(_PREPARED)


def _find_predictions(
    connection: Connection, labels: Sequence[Label], use_case: str | None
) -> tuple[dict[str, str], set[str]]:
    """Prediction id -> label, for labels given by id or by key, and the ids of corrections."""
    ids = sorted({label.id for label in labels if label.id is not None})
    keys = list({(label.key, label.at) for label in labels if label.key is not None})
    known = _find_ids(connection, ids, use_case)
    newest = _find_keys(connection, keys, use_case)
    unknown = [f"id {id}" for id in ids if id not in known] + sorted(
        _describe_key(key, at) for key, at in keys if (key, at) not in newest
    )
    if unknown:
        raise UnknownPrediction(
            where="labels",
            wanted="predictions that were recorded",
            got=f"none for {', '.join(unknown)}",
            then="send ids from the answers of /predict; no label of this request was recorded",
        )
    wanted: dict[str, str] = {}
    replacing: set[str] = set()
    for label in labels:
        id = label.id if label.id is not None else newest[str(label.key), label.at]
        if wanted.get(id, label.label) != label.label:
            raise LabelConflict(
                where=f"label of prediction {id}",
                wanted="one label in a request",
                got=f"{wanted[id]!r} and {label.label!r}",
                then="find out which is right; no label of this request was recorded",
            )
        wanted[id] = label.label
        if label.replaces:
            replacing.add(id)
    return wanted, replacing


def _find_ids(connection: Connection, ids: Iterable[str], use_case: str | None) -> set[str]:
    """The `ids` whose request was recorded and has that row."""
    split = {id: part for id in ids if (part := split_prediction_id(id)) is not None}
    query = select(ANSWERS.c.request, ANSWERS.c.rows, ANSWERS.c.forgotten)
    query = query.where(among(connection, {request for request, _ in split.values()}))
    if use_case is not None:
        query = query.where(ANSWERS.c.use_case == use_case)
    answers = {found.request: found for found in connection.execute(query)} if split else {}
    return {
        id
        for id, (request, row) in split.items()
        if request in answers
        and row < answers[request].rows
        and row not in read_forgotten(answers[request].forgotten)
    }


def _find_keys(
    connection: Connection, keys: Sequence[tuple[str, datetime | None]], use_case: str | None
) -> dict[tuple[str, datetime | None], str]:
    """The prediction id of the newest prediction of each key, answered at or before its time."""
    if not keys:
        return {}
    found = connection.execute(newest_of_keys(keys, use_case, connection.dialect.name))
    newest: dict[tuple[str, datetime | None], str] = {}
    for place, name in found:
        if name is not None:
            request, _, row = name.rpartition("/")
            newest[keys[int(place)]] = name_prediction(request, int(row))
    return newest


def newest_of_keys(
    keys: Sequence[tuple[str, datetime | None]], use_case: str | None, dialect: str
) -> Select[tuple[str, str | None]]:
    """The query for the place of each key, and "request/row" of its newest prediction, if any.

    It is a single lookup in the primary key for each.
    """
    given = Listed([(str(place), key, at) for place, (key, at) in enumerate(keys)], dialect)
    newest = (
        select(KEYS.c.request + "/" + cast(KEYS.c.row, Text))
        .where(
            KEYS.c.use_case == use_case,
            KEYS.c.key == given.text(1),
            KEYS.c.at <= func.coalesce(given.time(2), _LAST),
        )
        .order_by(KEYS.c.at.desc(), KEYS.c.request.desc(), KEYS.c.row.desc())
        .limit(1)
        .correlate(given.table)
    )
    return select(given.text(0), newest.scalar_subquery()).select_from(given.table)


def _describe_key(key: str, at: datetime | None) -> str:
    return f"key {key}" if at is None else f"key {key} at or before {at.isoformat()}"


def _read_labels(connection: Connection, ids: Mapping[str, str]) -> dict[str, str]:
    query = select(LABELS.c.prediction_id, LABELS.c.label).where(
        LABELS.c.prediction_id.in_(listed(connection, ids))
    )
    return {row.prediction_id: row.label for row in connection.execute(query)} if ids else {}


def _refuse_conflicts(existing: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    for id, label in existing.items():
        if wanted[id] != label:
            raise LabelConflict(
                where=f"label of prediction {id}",
                wanted=f"{label!r} as given before",
                got=repr(wanted[id]),
                then="find out which is right, and send it with replaces: true if the recorded one "
                "is wrong; no label of this request was recorded",
            )
