"""The hot path reads and prepares exactly as the careful reader and `schema.prepare` do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from api.refusal import Refusal
from api.requests import read_json
from api.rows.check import RowType
from api.rows.decode import RowReader
from api.rows.pack import Packer
from api.rows.rows import Rows
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.windows.prepare import prepare

CONTENT: dict[str, Any] = {
    "name": "shop",
    "key": "customer",
    "target": {"column": "left", "classes": ["False", "True"]},
    "source": {"query": "select 1", "windows": "*.csv"},
    "columns": {
        "plan": {"type": "categorical", "allowed": ["Basic", "gold", "1", "None", "True"]},
        "größe (m²)": {"type": "numeric", "minimum": 0, "maximum": 500},
        "class": {"type": "categorical"},
        "visits": {"type": "numeric", "optional": True},
    },
}
USE_CASE = parse_use_case(CONTENT, Path("loop.toml"))
SPELLINGS = [
    "basic",
    " Gold ",
    "1.0",
    "1",
    "none",
    "NONE",
    "na",
    "",
    "(missing)",
    "true",
    "2.50",
    "x" * 200,
    "ß",
]
CATEGORIES = st.sampled_from(SPELLINGS) | st.text()
NUMBERS = (
    st.floats(min_value=-3.4e38, max_value=3.4e38)
    | st.integers(-(10**38), 10**38)
    | st.sampled_from([-0.0, 5e-324, 2**53 + 1])
)
WRITTEN = (
    st.none()
    | st.booleans()
    | NUMBERS
    | CATEGORIES
    | st.floats(allow_nan=False)
    | st.sampled_from(["3.5", "1e3", 10**400, [], {}])
)
ROW = st.fixed_dictionaries(
    {
        name: WRITTEN if kind == "any" else st.none() | NUMBERS
        for name, kind in (("plan", "any"), ("class", "any"))
    }
    | {"größe (m²)": st.none() | NUMBERS, "visits": st.none() | NUMBERS}
)
ODD_ROW = st.fixed_dictionaries(
    {}, optional=dict.fromkeys((*USE_CASE.columns, "customer", "rows", "left"), WRITTEN)
)
BODIES = st.one_of(
    ROW, ODD_ROW, st.fixed_dictionaries({"rows": st.lists(ROW | ODD_ROW, max_size=4)})
)


def read_carefully(use_case: UseCase, body: bytes) -> Any:
    """What the careful reader says: its rows, or its refusal."""
    try:
        rows = RowType(use_case).read(read_json(body), 3)
    except Refusal as refusal:
        return refusal.status, refusal.detail
    return [
        ({name: row.features[name] for name in (*use_case.numeric, *use_case.categorical)}, row.key)
        for row in rows
    ]


def read_fast(use_case: UseCase, body: bytes) -> Any:
    try:
        rows = RowReader(use_case, RowType(use_case)).read(body, 3)
    except Refusal as refusal:
        return refusal.status, refusal.detail
    names = (*use_case.numeric, *use_case.categorical)
    return [
        (dict(zip(names, (*numbers, *texts), strict=True)), key)
        for numbers, texts, key in zip(rows.numbers, rows.texts, rows.keys, strict=True)
    ]


@settings(max_examples=150, deadline=None)
@given(body=BODIES, escaped=st.booleans())
@example(
    body={
        "rows": [{"plan": 1.0, "größe (m²)": 1, "class": True, "visits": None, "customer": "c\0"}]
    },
    escaped=False,
)
@example(
    body={"rows": [{"plan": 1e300, "größe (m²)": 1, "class": 2.0**53, "visits": "3"}]}, escaped=True
)
@example(
    body={"rows": [{"plan": 2**64, "größe (m²)": 2**64, "class": -(10**25), "visits": 1e38}]},
    escaped=True,
)
def test_the_fast_reader_reads_what_the_careful_one_reads(body: Any, escaped: bool) -> None:
    """Any body gives the same rows, value for value and type for type, or the very same refusal."""
    written = json.dumps(body, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    fast, careful = read_fast(USE_CASE, written), read_carefully(USE_CASE, written)
    assert repr(fast) == repr(careful)


def test_good_requests_take_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of numbers, texts, truth values and nulls never reach the careful reader, alone or in a
    list."""
    reader = RowReader(USE_CASE, RowType(USE_CASE))
    monkeypatch.setattr(
        reader, "read_carefully", lambda *_: pytest.fail("the careful reader was asked")
    )
    row = {"plan": "gold", "größe (m²)": 1, "class": True, "visits": None, "customer": "c1"}
    assert len(reader.read(json.dumps(row).encode(), 3)) == 1
    assert len(reader.read(json.dumps({"rows": [row, row]}, indent=2).encode(), 3)) == 2


def test_names_that_cannot_be_compiled_are_read_carefully() -> None:
    """A column with a quote or a line break in its name is read like any other, and its faults are
    named."""
    use_case = parse_use_case(
        {**CONTENT, "columns": {'a"b': {"type": "numeric"}, "c\nd": {"type": "categorical"}}},
        Path("loop.toml"),
    )
    good = json.dumps({'a"b': 1, "c\nd": True}).encode()
    assert read_fast(use_case, good) == [({'a"b': 1.0, "c\nd": "True"}, None)]
    assert read_fast(use_case, b'{"a\\"b": "x", "c\\nd": null}') == read_carefully(
        use_case, b'{"a\\"b": "x", "c\\nd": null}'
    )


VALUES = st.lists(
    st.tuples(
        st.none() | st.floats(-3.4e38, 3.4e38),
        st.none() | st.floats(-3.4e38, 3.4e38),
        st.none() | CATEGORIES,
        st.none() | CATEGORIES,
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(values=VALUES)
def test_packed_rows_are_what_prepare_makes_of_them(values: list[tuple[Any, ...]]) -> None:
    """For any checked values the two arrays hold, bit for bit, the columns that training and
    monitoring would see."""
    rows = Rows([row[:2] for row in values], [row[2:] for row in values], [None] * len(values))
    packed = Packer(USE_CASE).pack(rows)
    names = (*USE_CASE.numeric, *USE_CASE.categorical)
    raw = {
        name: pd.Series([row[place] for row in values], dtype=float if place < 2 else object)
        for place, name in enumerate(names)
    }
    prepared = prepare(pd.DataFrame(raw), USE_CASE)
    np.testing.assert_array_equal(
        packed.numbers, prepared[list(USE_CASE.numeric)].to_numpy(dtype=np.float64)
    )
    assert (
        packed.texts.tolist()
        == prepared[list(USE_CASE.categorical)].to_numpy(dtype=object).tolist()
    )


def test_remembered_spellings_are_bounded() -> None:
    """Ten thousand different categories do not stay in memory, and are spelled right all the
    same."""
    packer = Packer(USE_CASE)
    values = [("gold", f" city {number} ") for number in range(10_000)]
    texts = packer.pack(Rows([(None, None)] * 10_000, values, [None] * 10_000)).texts
    assert texts[9_999].tolist() == ["gold", "city 9999"]
    kept = packer._spell[1].__closure__
    assert (
        max(len(cell.cell_contents) for cell in kept or () if isinstance(cell.cell_contents, dict))
        == 1_000
    )
