"""Tables that are read fast are read as the careful reader reads them, and good ones are read
fast."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from api.model.answer import LoadedModel
from api.protocols.columns import read_with_care, refuse_many, take_plain
from api.protocols.mlflow_bodies import read_json_table
from api.refusal import Refusal
from api.rows.rows import Rows
from closedloop.bundle.loaded import LoadedVersion

NAMES = ["monthly spend", "visits", "plan", "returning"]
GOOD = {
    "monthly spend": [20.5, None, 3],
    "visits": [3, -7.5, 0],
    "plan": ["gold", None, "basic"],
    "returning": ["True", "x", ""],
}
NUMBERS = (
    st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**40), 10**40)
)
WRITTEN = (
    NUMBERS
    | st.booleans()
    | st.text(max_size=5)
    | st.sampled_from(["1.0", "3.5", "a\0b", float("nan"), float("inf"), 10**400, []])
)


@pytest.fixture(scope="module")
def model(bundles: dict[int, LoadedVersion]) -> LoadedModel:
    return LoadedModel(1, bundles[1], datetime(2026, 11, 21, tzinfo=UTC))


def columns_of(rows: int) -> st.SearchStrategy[dict[str, list[Any]]]:
    """Mostly good ones; the key comes or stays away."""
    numbers, texts = (
        st.lists(NUMBERS, min_size=rows, max_size=rows),
        st.lists(st.none() | st.text(), min_size=rows, max_size=rows),
    )
    any_values = st.lists(WRITTEN, min_size=rows, max_size=rows)
    plain = {name: numbers if place < 2 else texts for place, name in enumerate(NAMES)}
    odd = st.fixed_dictionaries({}, optional=dict.fromkeys((*NAMES, "left"), any_values))
    keyed = st.fixed_dictionaries(plain, optional={"customer": texts | any_values})
    return st.one_of(
        keyed,
        st.fixed_dictionaries(plain),
        st.builds(lambda known, unknown: known | unknown, st.fixed_dictionaries(plain), odd),
        odd,
    )


TABLES = (
    st.integers(1, 4)
    .flatmap(columns_of)
    .flatmap(
        lambda table: st.permutations(list(table)).map(lambda order: {n: table[n] for n in order})
    )
)


def write(form: str, table: dict[str, list[Any]]) -> bytes:
    rows = [list(values) for values in zip(*table.values(), strict=True)]
    if form == "dataframe_split":
        return json.dumps({form: {"columns": list(table), "data": rows}}).encode()
    return json.dumps({form: [dict(zip(table, row, strict=True)) for row in rows]}).encode()


def show(rows: Rows) -> Any:
    return [list(map(list, rows.numbers)), list(map(list, rows.texts)), list(rows.keys)]


def carefully(model: LoadedModel, body: bytes) -> Any:
    try:
        table = read_json_table(body, model.use_case, 100)
        refuse_many(table.rows, 100)
        return show(read_with_care(model, table, 100))
    except (Refusal, KeyError) as error:
        return error


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(table=TABLES, form=st.sampled_from(["dataframe_split", "dataframe_records", "instances"]))
@example(table={**GOOD, "customer": ["a\0", "b", None]}, form="dataframe_split")
@example(table={**GOOD, "plan": [1.0, 2**60, True]}, form="dataframe_records")
def test_what_is_read_fast_is_what_is_read_with_care(
    model: LoadedModel, table: dict[str, list[Any]], form: str
) -> None:
    """Row for row and value for value; what is refused with care is never taken fast."""
    body = write(form, table)
    fast = model.table_decoder.read(body, 100)
    if fast is not None:
        assert repr(show(fast)) == repr(carefully(model, body))
    try:
        plain = take_plain(model.use_case, read_json_table(body, model.use_case, 100))
    except (Refusal, KeyError):
        return
    if plain is not None:
        assert repr(show(plain)) == repr(carefully(model, body))


@pytest.mark.parametrize("form", ["dataframe_split", "dataframe_records", "instances"])
@pytest.mark.parametrize("keyed", [False, True])
def test_good_tables_are_read_fast(model: LoadedModel, form: str, keyed: bool) -> None:
    """In any order of columns, with the key and without, asked twice; too many rows are left to the
    reader that refuses."""
    table = dict(reversed(GOOD.items())) | ({"customer": ["c1", None, "c3"]} if keyed else {})
    for _ in range(2):
        rows = model.table_decoder.read(write(form, table), 3)
        assert rows is not None
        assert show(rows) == [
            [[20.5, 3.0], [None, -7.5], [3.0, 0.0]],
            [["gold", "True"], [None, "x"], ["basic", ""]],
            ["c1", None, "c3"] if keyed else [None] * 3,
        ]
    assert model.table_decoder.read(write(form, table), 2) is None
    assert (
        take_plain(model.use_case, read_json_table(write(form, GOOD), model.use_case, 3))
        is not None
    )


@pytest.mark.parametrize(
    "columns",
    [[*NAMES, "plan"], NAMES[:3], [*NAMES, "left"], []],
    ids=["twice", "missing", "unknown", "none"],
)
def test_other_columns_are_left_to_the_careful_reader(
    model: LoadedModel, columns: list[str]
) -> None:
    """A column that is named twice, missing or unknown is never taken fast."""
    body = json.dumps(
        {"dataframe_split": {"columns": columns, "data": [[1] * len(columns)]}}
    ).encode()
    assert model.table_decoder.read(body, 100) is None
