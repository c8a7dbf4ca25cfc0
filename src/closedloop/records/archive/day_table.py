"""What stands in a day's file: a row for each answered row that was not erased, in time order.

A feature has the type of its values: numbers or texts. One that has others, too, is kept as JSON,
value by value, so that reading gives exactly what the database gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from closedloop.errors import UseCaseError
from closedloop.records.answer_pages import AnswerPage
from closedloop.records.archive.day_counts import DayCounts
from closedloop.records.page_rows import (
    decode_sent_keys,
    fill_keys,
    find_kept,
    join_ids,
    number_rows,
)
from closedloop.records.stored_columns import (
    Column,
    Values,
    decode_columns,
    make_column,
    take_texts,
)
from closedloop.use_case.contract import UseCase

Kind = Literal["numbers", "texts", "json"]
FACTS = b"closedloop"
REQUEST, ROW, TIME, VERSION, KEY = "_request", "_row", "_answered_at", "_version", "_key"
_OWN = {
    REQUEST: pa.string(),
    ROW: pa.int32(),
    TIME: pa.timestamp("us", "UTC"),
    VERSION: pa.int32(),
    KEY: pa.string(),
}
_TYPES = {"numbers": pa.float64(), "texts": pa.string(), "json": pa.string()}


class Unfit(Exception):
    """Columns with values that their kinds cannot hold."""

    def __init__(self, names: frozenset[str]) -> None:
        super().__init__(*sorted(names))
        self.names = names


class DayFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file says of itself: which answers it has, and how its features are kept."""

    format: Literal[1]
    counts: DayCounts
    features: dict[str, Kind]


def choose_kinds(use_case: UseCase, unfit: frozenset[str] = frozenset()) -> dict[str, Kind]:
    """How each feature is kept: by the types of loop.toml, and those that do not fit as JSON."""
    return {
        name: "json" if name in unfit else "numbers" if column.type == "numeric" else "texts"
        for name, column in use_case.columns.items()
    }


def make_schema(use_case: UseCase, facts: DayFacts) -> Any:
    """The columns of a file. Raises UseCaseError when two would have the same name."""
    shares = {_name_share(label): pa.float64() for label in use_case.target.classes}
    taken = sorted({*_OWN, *shares} & {*facts.features})
    if taken:
        raise UseCaseError(
            where=f"archive, use case {use_case.name}",
            wanted="no feature with a name that the archive uses itself",
            got=", ".join(taken),
            then="rename the column, or do without an archive",
        )
    features = {name: _TYPES[kind] for name, kind in facts.features.items()}
    schema = pa.schema([*(_OWN | features | shares).items()])
    return schema.with_metadata({FACTS: msgspec.json.encode(facts)})


def read_facts(schema: Any) -> DayFacts:
    """What a file says of itself. Raises ValueError for a file that is none of ours."""
    try:
        facts = msgspec.json.decode((schema.metadata or {}).get(FACTS, b""), type=DayFacts)
    except msgspec.MsgspecError as error:
        raise ValueError(f"no facts of a day: {error}") from error
    wanted = _OWN | {name: _TYPES[kind] for name, kind in facts.features.items()}
    for name, kind in wanted.items():
        if schema.names.count(name) != 1 or schema.field(name).type != kind:
            raise ValueError(f"no column {name} of {kind}")
    return facts


def make_table(page: AnswerPage, use_case: UseCase, schema: Any, facts: DayFacts) -> Any:
    """The rows of a page. Raises Unfit when values need another kind."""
    kept = find_kept(page)
    of_request, numbers = (part[kept] for part in number_rows(page))
    places = pa.array(of_request)
    arrays = {
        REQUEST: pa.array(page.requests, pa.string()).take(places),
        ROW: pa.array(numbers, pa.int32()),
        TIME: pa.array(page.times, _OWN[TIME]).take(places),
        VERSION: pa.array(page.versions, pa.int32()).take(places),
        KEY: pa.array(decode_sent_keys(page)[kept], pa.string()),
    }
    types = {name: column.type for name, column in use_case.columns.items()}
    features = decode_columns(page, types)
    unfit = set()
    for name, kind in facts.features.items():
        array = _encode(features[name].take(kept), len(numbers), kind)
        if array is None:
            unfit.add(name)
        arrays[name] = array
    if unfit:
        raise Unfit(frozenset(unfit))
    shares = dict.fromkeys(use_case.target.classes, "numeric")
    for label, share in decode_columns(replace(page, features=page.probabilities), shares).items():
        array = _encode(share.take(kept), len(numbers), "numbers")
        arrays[_name_share(label)] = (
            pa.nulls(len(numbers), pa.float64()) if array is None else array
        )
    return pa.table([arrays[name] for name in schema.names], schema=schema)


def find_within(table: Any, since: datetime, until: datetime) -> Any:
    """Which rows of a part of a file have since <= time < until."""
    times = table.column(TIME).combine_chunks()
    first, end = (pa.scalar(at, _OWN[TIME]) for at in (since, until))
    return pc.and_(pc.greater_equal(times, first), pc.less(times, end))


def read_ids(table: Any) -> Any:
    """The ids of the predictions of a part of a file."""
    return join_ids(table.column(REQUEST).combine_chunks(), table.column(ROW).combine_chunks())


def read_keys(table: Any) -> Values:
    """The keys of a part of a file; the id of the prediction where none was sent."""
    keys = take_texts(table.column(KEY).combine_chunks())
    return fill_keys(keys, read_ids(table)) if pd.isna(keys).any() else keys


def read_features(table: Any, kinds: Mapping[str, Kind]) -> dict[str, Column]:
    """The features of a part of a file."""
    return {name: _decode(table.column(name).combine_chunks(), kinds[name]) for name in kinds}


def _name_share(label: str) -> str:
    return f"_probability_{label}"


def _encode(column: Column, rows: int, kind: Kind) -> Any:
    """A column as an array of Arrow's; None when it has values of another kind."""
    numbers, others = column.numbers, column.others
    if kind == "json":
        return pa.array([_write(value) for value in column.values(rows).tolist()], pa.string())
    if kind == "numbers":
        if others is not None and not pd.isna(others).all():
            return None
        return (
            pa.nulls(rows, pa.float64())
            if numbers is None
            else pa.array(numbers, mask=np.isnan(numbers))
        )
    if numbers is not None and not np.isnan(numbers).all():
        return None
    if others is None:
        return pa.nulls(rows, pa.string())
    if not {str, type(None)}.issuperset(map(type, others)):
        return None
    return pa.array(others, pa.string())


def _decode(array: Any, kind: Kind) -> Column:
    if kind == "numbers":
        return Column(numbers=array.to_numpy(zero_copy_only=False))
    if kind == "texts":
        return Column(others=take_texts(array))
    return make_column([None if text is None else json.loads(text) for text in array.to_pylist()])


def _write(value: Any) -> str | None:
    """As JSON, which here also has infinite numbers; None for null."""
    return None if value is None or value != value else json.dumps(value)
