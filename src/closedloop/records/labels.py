"""Labels of recorded predictions: given by id or by key (and time), and changed only on purpose.

A corrected label stays on record beside the new one, under the id of its prediction and a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from closedloop.errors import LabelConflict, StoreError
from closedloop.records.request import name_prediction, split_prediction_id
from closedloop.records.tables import ANSWERS, KEYS, LABELS, REPLACED

_BATCH = 500  # names in one query; older versions of SQLite take at most 999


class UnknownPrediction(StoreError):
    """A label for a prediction that was never recorded."""


@dataclass(frozen=True)
class Label:
    """The label of one prediction: that with this `id`, or the newest with this `key`.

    Exactly one of both must be given. `at`, an aware time beside the key, selects the newest
    prediction answered at or before it. `replace` corrects another label that is on record.
    """

    label: str
    id: str | None = None
    key: str | None = None
    at: datetime | None = None
    replace: bool = False

    def __post_init__(self) -> None:
        if (self.id is None) == (self.key is None):
            raise ValueError("a label needs either the id of a prediction or its key")
        if self.at is not None and (self.key is None or self.at.tzinfo is None):
            raise ValueError("the time of a label needs a key and a time zone")


def write_labels(
    connection: Connection, labels: Sequence[Label], use_case: str | None, now: datetime
) -> int:
    """Insert the labels and correct those to replace; returns how many that changed.

    Raises UnknownPrediction or LabelConflict: the transaction must then be rolled back.
    """
    wanted, replacing = _name_predictions(connection, labels, use_case)
    corrected = _correct(connection, {id: wanted[id] for id in sorted(replacing)}, now)
    existing = _read_labels(connection, wanted)
    _refuse_conflicts(existing, wanted)
    # Sorted, so that two writers of the same labels wait for each other instead of deadlocking.
    missing = [
        {"prediction_id": id, "request": id.rpartition("-")[0], "label": label, "at": now}
        for id, label in sorted(wanted.items())
        if id not in existing
    ]
    if missing:
        dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
        connection.execute(dialect.insert(LABELS).on_conflict_do_nothing(), missing)
        # Another writer may have inserted one in the meantime.
        _refuse_conflicts(_read_labels(connection, wanted), wanted)
    return len(missing) + corrected


def _correct(connection: Connection, wanted: Mapping[str, str], now: datetime) -> int:
    """Replace the labels on record that differ from `wanted`, keeping them; returns how many."""
    corrected = 0
    for id, label in wanted.items():
        # Locked on PostgreSQL, so that two corrections follow one another.
        query = select(LABELS).where(LABELS.c.prediction_id == id).with_for_update()
        found = connection.execute(query).one_or_none()
        if found is None or found.label == label:
            continue
        request = LABELS.c.request == found.request
        of_request = connection.execute(select(LABELS.c.prediction_id).where(request)).scalars()
        number = sum(name.startswith(f"{id}{REPLACED}") for name in of_request) + 1
        kept = {**found._mapping, "prediction_id": f"{id}{REPLACED}{number}"}
        connection.execute(insert(LABELS), kept)
        connection.execute(
            update(LABELS).where(LABELS.c.prediction_id == id).values(label=label, at=now)
        )
        corrected += 1
    return corrected


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + _BATCH] for start in range(0, len(names), _BATCH))


def _name_predictions(
    connection: Connection, labels: Sequence[Label], use_case: str | None
) -> tuple[dict[str, str], set[str]]:
    """Prediction id -> label, for labels given by id or by key, and the ids of corrections."""
    ids = sorted({label.id for label in labels if label.id is not None})
    keys = {(label.key, label.at) for label in labels if label.key is not None}
    known = _find_ids(connection, ids, use_case)
    newest = {
        (key, at): id
        for key, at in keys
        if (id := _newest_of_key(connection, use_case, key, at)) is not None
    }
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
        if label.replace:
            replacing.add(id)
    return wanted, replacing


def _find_ids(connection: Connection, ids: Iterable[str], use_case: str | None) -> set[str]:
    """The `ids` whose request was recorded and has that row."""
    split = {id: part for id in ids if (part := split_prediction_id(id)) is not None}
    rows: dict[str, int] = {}
    for batch in _batches(sorted({request for request, _ in split.values()})):
        query = select(ANSWERS.c.request, ANSWERS.c.rows).where(ANSWERS.c.request.in_(batch))
        if use_case is not None:
            query = query.where(ANSWERS.c.use_case == use_case)
        rows.update((found.request, found.rows) for found in connection.execute(query))
    return {id for id, (request, row) in split.items() if row < rows.get(request, 0)}


def _newest_of_key(
    connection: Connection, use_case: str | None, key: str, at: datetime | None
) -> str | None:
    found = connection.execute(newest_of_key(use_case, key, at)).one_or_none()
    return None if found is None else name_prediction(found.request, found.row)


def newest_of_key(
    use_case: str | None, key: str, at: datetime | None = None
) -> Select[tuple[str, int]]:
    """The query for request and row of a key's newest prediction, answered at or before `at`.

    It is a single lookup in the primary key.
    """
    query = select(KEYS.c.request, KEYS.c.row).where(KEYS.c.use_case == use_case, KEYS.c.key == key)
    if at is not None:
        query = query.where(KEYS.c.at <= at)
    return query.order_by(KEYS.c.at.desc(), KEYS.c.request.desc(), KEYS.c.row.desc()).limit(1)


def _describe_key(key: str, at: datetime | None) -> str:
    return f"key {key}" if at is None else f"key {key} at or before {at.isoformat()}"


def _read_labels(connection: Connection, ids: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for batch in _batches(list(ids)):
        query = select(LABELS.c.prediction_id, LABELS.c.label).where(
            LABELS.c.prediction_id.in_(batch)
        )
        found.update((row.prediction_id, row.label) for row in connection.execute(query))
    return found


def _refuse_conflicts(existing: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    for id, label in existing.items():
        if wanted[id] != label:
            raise LabelConflict(
                where=f"label of prediction {id}",
                wanted=f"{label!r} as given before",
                got=repr(wanted[id]),
                then="find out which is right, and send it with replace: true if the recorded one "
                "is wrong; no label of this request was recorded",
            )
