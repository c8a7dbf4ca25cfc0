"""Requests of many rows take another way than small ones, and nobody can tell from what comes
out."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.model.answer import LoadedModel
from api.rows.pack import MANY, Packer
from api.rows.rows import Rows
from closedloop.use_case.loop_toml import parse_use_case

Service = Any  # tests/api/conftest.py
CONTENT: dict[str, Any] = {
    "name": "shop",
    "target": {"column": "left", "classes": ["False", "True"]},
    "source": {"query": "select 1", "windows": "*.csv"},
    "columns": {
        "spend": {"type": "numeric", "minimum": 0, "maximum": 500},
        "visits": {"type": "numeric"},
        "plan": {"type": "categorical", "allowed": ["basic", "gold"]},
        "city": {"type": "categorical"},
    },
}
USE_CASE = parse_use_case(CONTENT, Path("loop.toml"))
NUMBERS = st.none() | st.sampled_from([-1.0, 0.0, -0.0, 500.0, 500.5]) | st.floats(-3.4e38, 3.4e38)
TEXTS = st.none() | st.sampled_from(["gold", " GOLD ", "none", "", "1.0"]) | st.text(max_size=5)


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.tuples(NUMBERS, NUMBERS, TEXTS, TEXTS), min_size=MANY, max_size=MANY + 4),
    by_column=st.booleans(),
)
def test_many_rows_are_packed_and_warned_of_as_each_alone(
    values: list[tuple[Any, ...]], by_column: bool
) -> None:
    """Arrays and warnings of a large request are those of its rows sent one by one, however the
    rows were held."""
    packer, keys = Packer(USE_CASE), [None] * len(values)
    rows = Rows([row[:2] for row in values], [row[2:] for row in values], keys)
    if by_column:
        rows = Rows.of_columns(rows.number_columns, rows.text_columns, keys)
    packed, alone = packer.pack(rows), [Rows([row[:2]], [row[2:]], [None]) for row in values]
    each = [packer.pack(row) for row in alone]
    np.testing.assert_array_equal(
        packed.numbers, np.concatenate([single.numbers for single in each])
    )
    assert packed.texts.tolist() == [single.texts.tolist()[0] for single in each]
    found = [
        packer.find_warnings(row, single).get(0) for row, single in zip(alone, each, strict=True)
    ]
    assert packer.find_warnings(rows, packed) == {
        row: warnings for row, warnings in enumerate(found) if warnings
    }


@pytest.mark.parametrize("rows", [1, 2, MANY - 1, MANY, 100])
@pytest.mark.parametrize("classes", [("False", "True"), ('a"b', "ü", "c")])
def test_the_answer_is_the_json_of_its_parts(
    make_bundle: Callable[..., Any], rows: int, classes: tuple[str, ...]
) -> None:
    """For any number of rows and classes, with warnings and without, the bytes are those of the
    plain structure in this order."""
    model = LoadedModel(
        7,
        make_bundle("packed", classes=classes),
        datetime(2026, 11, 20, tzinfo=UTC),
    )
    row = {"monthly spend": 20.5, "visits": None, "plan": "gold", "returning": True}
    asked = [
        {**row, "monthly spend": 501.0 if number % 3 == 2 else 2.5 * number}
        for number in range(rows)
    ]
    answered = model.answer(model.reader.read(json.dumps({"rows": asked}).encode(), 1000))
    predictions = [
        {
            "id": id,
            "prediction": classes[best],
            "probabilities": dict(zip(classes, shares, strict=True)),
            "warnings": list(answered.warnings.get(number, ())),
        }
        for number, (id, best, *shares) in enumerate(
            zip(answered.ids, answered.best, *answered.shares, strict=True)
        )
    ]
    content = {"model": "shop", "version": 7, "predictions": predictions}
    assert answered.encode().decode() == json.dumps(
        content, separators=(",", ":"), ensure_ascii=False
    )
    for first, last in (
        (0, 1),
        (rows // 2, rows),
        (rows - 1, rows),
    ):  # what one of several clients gets
        part = json.dumps(
            {**content, "predictions": predictions[first:last]},
            separators=(",", ":"),
            ensure_ascii=False,
        )
        assert answered.encode(first, last - first).decode() == part
    assert sum(bool(prediction["warnings"]) for prediction in predictions) == rows // 3
    assert len(predictions) == rows


def test_many_rows_are_on_record_as_they_were_asked(service: Service) -> None:
    """A large request comes back from the records row for row: numbers, nulls, texts and keys, and
    its rows take labels by id and key."""
    asked = [
        {
            "monthly spend": None if row % 7 == 0 else row / 3,
            "visits": row,
            "plan": "gold",
            "returning": row % 2 == 0,
            "customer": f"c{row}",
        }
        for row in range(50)
    ]
    predictions = service.predict(*asked)["predictions"]
    labels = [{"id": predictions[49]["id"], "label": "True"}, {"key": "c3", "label": "False"}]
    assert service.client.post("/labels", json={"labels": labels}).json() == {"recorded": 2}
    frame = service.records.read(service.use_case)
    wanted = [np.nan if row["monthly spend"] is None else row["monthly spend"] for row in asked]
    np.testing.assert_array_equal(frame["monthly spend"].to_numpy(), np.array(wanted))
    assert frame["visits"].tolist() == [float(row) for row in range(50)]
    assert frame["returning"].tolist() == [str(row % 2 == 0) for row in range(50)]
    assert frame["customer"].tolist() == [f"c{row}" for row in range(50)]
    assert frame["left"].tolist() == [{3: "False", 49: "True"}.get(row) for row in range(50)]


def test_the_metrics_count_rows_and_not_requests(service: Service) -> None:
    """Of a large request each row is counted under its prediction, and each row with a warning
    once."""
    row = {"monthly spend": 600.0, "visits": 1, "plan": "gold", "returning": True}
    predictions = service.predict(
        *[{**row, "visits": 10.0 * number - 100} for number in range(40)]
    )["predictions"]
    for name in ("False", "True"):
        wanted = sum(prediction["prediction"] == name for prediction in predictions)
        assert (
            service.metric(f'closedloop_predictions_total{{prediction="{name}",version="1"}}') or 0
        ) == wanted
    assert service.metric("closedloop_prediction_warnings_total") == 40
