"""Columns that are kept out of the records: answered as always, and never written down."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from closedloop.bundle.loaded import LoadedVersion
from closedloop.use_case.contract import UseCase
from tests.api.mlflow_requests import COLUMNS, write_csv

Service = Any  # tests/api/conftest.py
HIDDEN = ("plan", "monthly spend")
PLAN, SPEND = "plan-of-7f3c1e", 123.45678901
ROW: dict[str, Any] = {"monthly spend": SPEND, "visits": 3.5, "plan": PLAN, "returning": "True"}
MANY = 60
# What the values look like in a file: as text, and as the bytes of many numbers in base64.
TRACES = (
    PLAN.encode(),
    repr(SPEND).encode(),
    base64.b64encode(struct.pack("<3d", SPEND, SPEND, SPEND)),
)


def ask_predict(service: Service, rows: int) -> Any:
    return service.client.post("/predict", json={"rows": [ROW] * rows})


def ask_one(service: Service, rows: int) -> Any:
    return [service.client.post("/predict", json=ROW) for _ in range(rows)][-1]


def ask_mlflow(service: Service, rows: int) -> Any:
    return service.client.post("/invocations", json={"dataframe_records": [ROW] * rows})


def ask_csv(service: Service, rows: int) -> Any:
    body = write_csv(COLUMNS, *([ROW[name] for name in COLUMNS] for _ in range(rows)))
    return service.client.post("/invocations", content=body, headers={"content-type": "text/csv"})


def ask_v2(service: Service, rows: int) -> Any:
    inputs = [
        {
            "name": name,
            "shape": [rows],
            "datatype": "BYTES" if isinstance(value, str) else "FP64",
            "data": [value] * rows,
        }
        for name, value in ROW.items()
    ]
    return service.client.post("/v2/models/shop/infer", json={"inputs": inputs})


def hide(bundle: LoadedVersion) -> LoadedVersion:
    """The same model with a contract that keeps columns out of the records."""
    columns = {
        name: replace(column, record=name not in HIDDEN)
        for name, column in bundle.use_case.columns.items()
    }
    return replace(bundle, use_case=replace(bundle.use_case, columns=MappingProxyType(columns)))


@pytest.fixture(params=["loop.toml", "contract of the version"])
def hiding(request: pytest.FixtureRequest, make_service: Callable[..., Service]) -> Service:
    """A service that must not record two columns: as loop.toml says today, although the version
    was trained before, or as it said when the version was trained."""
    if request.param == "loop.toml":
        service = make_service(unrecorded=HIDDEN)
    else:
        service = make_service()
        service.versions.bundles[1] = hide(service.versions.bundles[1])
    service.promote(1)
    return service


def files_of(service: Service) -> bytes:
    """Everything that the database has written."""
    path = Path(service.engine.url.database)
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


@pytest.mark.parametrize("rows", [1, MANY])
@pytest.mark.parametrize("ask", [ask_predict, ask_one, ask_mlflow, ask_csv, ask_v2])
def test_their_values_are_never_written(
    hiding: Service, ask: Callable[[Service, int], Any], rows: int
) -> None:
    """By every protocol, in one row or many: not a byte of them is in the database's files, the
    other columns are on record, and labels find their rows."""
    answer = ask(hiding, rows)
    assert answer.status_code == 200, answer.text
    assert [trace for trace in TRACES if trace in files_of(hiding)] == []
    frame = hiding.records.read(hiding.use_case)
    assert frame["visits"].tolist() == [3.5] * rows
    assert frame["plan"].isna().all()
    assert frame["monthly spend"].isna().all()
    assert hiding.records.newest_columns("shop")[1] == {"visits", "returning"}


def test_without_it_they_are_there(service: Service) -> None:
    """The same look finds every value of columns that are recorded."""
    for rows in (1, MANY):
        assert ask_predict(service, rows).status_code == 200
    assert [trace for trace in TRACES if trace not in files_of(service)] == []


def test_the_answer_is_the_same(hiding: Service, make_service: Callable[..., Service]) -> None:
    """The model is asked with every column; what is not recorded is not missing in the answer, in
    an explanation or in what a candidate beside it is asked."""
    hidden = ask_predict(hiding, 2).json()["predictions"]
    explained = hiding.client.post("/explain", json=ROW)
    assert explained.status_code == 200
    model = hiding.production.current
    answered = model.answer(model.reader.read(json.dumps(ROW).encode(), 10))
    assert set(json.loads(answered.features)) == set(ROW)
    assert set(json.loads(answered.record.features)) == {"visits", "returning"}
    described = hiding.client.get("/model").json()["features"]
    assert {name for name, column in described.items() if not column["recorded"]} == set(HIDDEN)
    plain = make_service()
    plain.promote(1)
    assert [row["probabilities"] for row in ask_predict(plain, 2).json()["predictions"]] == [
        row["probabilities"] for row in hidden
    ]


def test_the_use_case_names_them(hiding: Service) -> None:
    """In the order of loop.toml."""
    assert isinstance(hiding.use_case, UseCase)
    assert hide(hiding.versions.bundles[2]).use_case.unrecorded == ("monthly spend", "plan")
