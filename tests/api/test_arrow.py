"""Arrow streams are read and answered as the same rows in JSON are, and a broken one breaks
nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.refusal import Refusal
from api.rows.arrow import MEDIA_TYPE, is_arrow, read_arrow
from api.rows.check import RowType
from api.rows.decode import RowReader
from api.rows.pack import Packer
from tests.api.test_row_decoding import CATEGORIES, NUMBERS, USE_CASE

Service = Any  # tests/api/conftest.py
ROWS: list[dict[str, Any]] = [
    {"monthly spend": 20.5, "visits": 3.0, "plan": "gold", "returning": "True", "customer": "a"},
    {"monthly spend": None, "visits": 0.0, "plan": None, "returning": "False", "customer": None},
    {"monthly spend": 900.0, "visits": -1.0, "plan": "silver", "returning": "x", "customer": "ü"},
]
READER = RowReader(USE_CASE, RowType(USE_CASE))


def write(table: pa.Table, **options: Any) -> bytes:
    """A table as a client sends it."""
    sink = BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as stream:
        stream.write_table(table)
    return sink.getvalue()


def ask(service: Service, body: bytes, path: str = "/predict") -> Any:
    return service.client.post(path, content=body, headers={"content-type": MEDIA_TYPE})


def read_answer(answer: Any) -> pa.Table:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    return pa.ipc.open_stream(answer.content).read_all()


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {"größe (m²)": st.none() | NUMBERS.map(float), "visits": st.none() | NUMBERS.map(float)}
            | dict.fromkeys(("plan", "class"), st.none() | CATEGORIES),
            optional={"customer": st.none() | st.text(min_size=1, max_size=3)},
        ),
        min_size=1,
        max_size=20,
    ),
    encoded=st.booleans(),
    batch=st.integers(1, 20),
)
def test_a_stream_is_read_as_its_rows_in_json_are(
    rows: list[dict[str, Any]], encoded: bool, batch: int
) -> None:
    """Numbers, texts and keys are the same to the last bit, whether texts are encoded as a
    dictionary or not and however many batches there are; what one refuses the other refuses."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: pa.array([row.get(name) for row in rows]) for name in names}
    if encoded:
        kinds = {name: pa.types.is_string(column.type) for name, column in columns.items()}
        columns |= {name: columns[name].dictionary_encode() for name, text in kinds.items() if text}
    table = pa.table(columns)
    many = pa.Table.from_batches(table.to_batches(max_chunksize=batch), table.schema)
    whole = [{name: row.get(name) for name in names} for row in rows]

    def read(reader: Any) -> Any:
        try:
            found = reader()
        except Refusal as refusal:
            return refusal.status
        packed = Packer(USE_CASE).pack(found)
        return packed.numbers.tobytes(), packed.texts.tolist(), list(found.keys)

    # pyarrow's dictionaries of one stream may grow, but not change.
    stream = write(many, emit_dictionary_deltas=True)
    assert read(lambda: read_arrow(stream, USE_CASE, READER, 100)) == read(
        lambda: READER.read(json.dumps({"rows": whole}).encode(), 100)
    )


@pytest.mark.parametrize("path", ["/predict", "/v2/models/shop/infer"])
def test_answers_and_records_are_those_of_json(service: Service, path: str) -> None:
    """The same probabilities, predictions and warnings under new ids, on record with the same
    values; a label finds its row."""
    without_keys = [{**row, "customer": None} for row in ROWS]
    told = service.predict(*without_keys)["predictions"]
    answer = read_answer(ask(service, write(pa.Table.from_pylist(ROWS)), path))
    found = answer.to_pylist()
    assert answer.schema.metadata == {b"model": b"shop", b"version": b"1"}
    assert [{**row, "id": ""} for row in found] == [{**row, "id": ""} for row in told]
    records = service.records.read(service.use_case)
    first, second = records.iloc[: len(ROWS)], records.iloc[len(ROWS) :]
    for name in ("monthly spend", "visits", "plan", "returning"):
        np.testing.assert_array_equal(first[name].to_numpy(), second[name].to_numpy())
    assert list(second["customer"])[::2] == ["a", "ü"]
    label = {"labels": [{"id": found[1]["id"], "label": "True"}]}
    assert service.client.post("/labels", json=label).json() == {"recorded": 1}


def test_a_dictionary_costs_its_memory_once() -> None:
    """However many batches share it: what no row has is not kept, so a small stream stays small."""
    words = pa.array([f"word {place}" for place in range(1_000)])
    row = pa.record_batch(
        {
            "größe (m²)": pa.array([1.0]),
            "visits": pa.array([1.0]),
            "plan": pa.DictionaryArray.from_arrays(pa.array([7], pa.int32()), words),
            "class": pa.array(["a"]),
        }
    )
    found = read_arrow(write(pa.Table.from_batches([row] * 300)), USE_CASE, READER, 300)
    assert max(len(column.values) for column in found.coded) <= 301


def test_missing_and_unseen_values_are_counted_as_in_json(service: Service) -> None:
    """The metrics of features count each row of a stream once, however its texts are encoded."""
    rows = [{**row, "customer": None} for row in ROWS * 10]
    names = [
        'closedloop_feature_missing_total{feature="plan"}',
        'closedloop_feature_missing_total{feature="monthly spend"}',
        'closedloop_feature_unseen_total{feature="plan"}',
    ]

    def count(send: Callable[[], Any]) -> list[float]:
        before = [service.metric(name) or 0 for name in names]
        send()
        return [(service.metric(name) or 0) - was for name, was in zip(names, before, strict=True)]

    table = pa.Table.from_pylist(rows)
    encoded = table.set_column(
        table.column_names.index("plan"), "plan", table.column("plan").dictionary_encode()
    )
    told = count(lambda: service.predict(*rows))
    assert told[:2] == [10, 10]
    for sent in (table, encoded):
        assert count(lambda sent=sent: ask(service, write(sent))) == told


def test_columns_of_other_types_are_read_where_their_meaning_is_plain(service: Service) -> None:
    """Whole numbers and decimals are numbers, NaN is null, truth values and whole numbers are
    categories, as in JSON."""
    columns = {
        "monthly spend": pa.array([1, 2], pa.decimal128(10, 2)),
        "visits": pa.array([float("nan"), 3.0]),
        "plan": pa.array([1, None], pa.int8()),
        "returning": pa.array([True, False]),
    }
    rows = [
        {"monthly spend": 1.0, "visits": None, "plan": 1, "returning": True},
        {"monthly spend": 2.0, "visits": 3.0, "plan": None, "returning": False},
    ]
    found = read_answer(ask(service, write(pa.table(columns)))).to_pylist()
    told = service.predict(*rows)["predictions"]
    assert [row["probabilities"] for row in found] == [row["probabilities"] for row in told]


def test_faults_are_named_as_in_json(service: Service) -> None:
    """A missing column, an unknown one, a text for a number, a huge number and a key too long are
    refused by row and field with the same words."""
    faulty: list[dict[str, Any]] = [
        {name: value for name, value in ROWS[0].items() if name != "visits"},
        {**ROWS[0], "visit": 3.0},
        {**ROWS[0], "visits": "many"},
        {**ROWS[0], "visits": 1e300},
        {**ROWS[0], "customer": "x" * 10_000},
    ]
    for row in faulty:
        answer = ask(service, write(pa.Table.from_pylist([row])))
        assert answer.status_code == 422
        assert answer.json() == service.client.post("/predict", json={"rows": [row]}).json()
    moments = pa.array([0, 1, 2], pa.timestamp("ns"))
    invalid = write(pa.Table.from_pylist(faulty[:1]))
    answer = ask(service, invalid, "/v2/models/shop/infer")
    assert (answer.status_code, "visits" in answer.json()["error"]) == (400, True)
    times = pa.Table.from_pylist(ROWS).drop_columns("visits").append_column("visits", moments)
    assert "got a column of timestamp[ns]" in ask(service, write(times)).text
    assert ask(service, write(times)).status_code == 422


def test_too_many_rows_are_refused_before_they_are_made(service: Service) -> None:
    """Nulls take no bytes: a stream of a few hundred can claim billions of rows."""
    columns = {name: pa.nulls(10**9) for name in ROWS[0]}
    stream = write(pa.table(columns))
    assert len(stream) < 2_000
    answer = ask(service, stream)
    assert (answer.status_code, "at most 10000 rows" in answer.text) == (413, True)
    assert ask(service, write(pa.Table.from_pylist(ROWS).slice(0, 0))).status_code == 422


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("encoded", [False, True])
def test_compressed_buffers_are_refused(service: Service, compression: str, encoded: bool) -> None:
    """A few bytes could become gigabytes before anybody sees how many; the body as a whole may be
    compressed, within its limit."""
    table = pa.table({"plan": ["gold" * 1000] * 10})
    if encoded:
        table = pa.table({"plan": table.column("plan").dictionary_encode()})
    answer = ask(service, write(table, compression=compression))
    assert (answer.status_code, "Content-Encoding: gzip" in answer.text) == (415, True)


def test_places_outside_a_dictionary_are_refused(service: Service) -> None:
    """They would be read from memory that holds something else."""
    places = pa.array([0, 1, 77], pa.int8())
    broken = pa.DictionaryArray.from_arrays(places, pa.array(["a", "b"]), safe=False)
    table = pa.Table.from_pylist(ROWS).drop_columns("plan").append_column("plan", broken)
    answer = ask(service, write(table))
    assert (answer.status_code, "broken one" in answer.text) == (422, True)
    twice = pa.table([pa.array([1.0]), pa.array([2.0])], names=["visits", "visits"])
    assert "wanted each column once" in ask(service, write(twice)).text


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_broken_stream_is_more_than_a_refusal(data: st.DataObject) -> None:
    """Cut off anywhere or with bytes changed, a stream is read or refused, and nothing else."""
    columns = {"größe (m²)": [1.0, None], "visits": [1.0, 2.0], "plan": ["gold", "x"]}
    table = pa.table({**columns, "class": pa.array(["a", "b"]).dictionary_encode()})
    stream = bytearray(write(table))
    for _ in range(data.draw(st.integers(0, 3))):
        stream[data.draw(st.integers(4, len(stream) - 1))] = data.draw(st.integers(0, 255))
    body = bytes(stream[: data.draw(st.integers(4, len(stream)))])
    try:
        Packer(USE_CASE).pack(read_arrow(body, USE_CASE, READER, 100))
    except Refusal as refusal:
        status = refusal.status
    else:
        status = 200
    assert status in (200, 413, 415, 422)


def test_a_service_without_pyarrow_says_so(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON goes on, and an Arrow stream is refused with what to do."""
    body = write(pa.Table.from_pylist(ROWS))
    assert is_arrow(body)
    assert not is_arrow(b"{}")
    with monkeypatch.context() as gone:
        gone.setitem(sys.modules, "pyarrow", None)
        answer = ask(service, body)
    assert (answer.status_code, "send JSON" in answer.text) == (415, True)
    service.predict(*ROWS)
