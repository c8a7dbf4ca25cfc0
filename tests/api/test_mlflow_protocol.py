"""MLflow's scoring protocol, beside MLflow's own scoring server on the same pipeline."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from mlflow.models import infer_signature
from mlflow.pyfunc import scoring_server

from closedloop.bundle.loaded import LoadedVersion
from closedloop.bundle.skops_model import TRUSTED_TYPES
from tests.api.mlflow_requests import COLUMNS, RECORD, ROWS, ask, write_csv

Service = Any  # tests/api/conftest.py
WITHOUT_VISITS = {name: value for name, value in RECORD.items() if name != "visits"}
BY_COLUMN = {name: [row[name] for row in ROWS] for name in COLUMNS}
TURNED = {"columns": COLUMNS[::-1], "data": [[row[name] for name in COLUMNS[::-1]] for row in ROWS]}
NAN_ROW = {**RECORD, "visits": float("nan")}


def save_as_mlflow(bundle: LoadedVersion, folder: Path) -> Any:
    """The pipeline of a bundle in MLflow's format, as the registry saves it, loaded again."""
    sample = pd.DataFrame(ROWS).astype({"visits": float})
    mlflow.sklearn.save_model(
        bundle.scorer.pipeline,
        str(folder),
        serialization_format="skops",
        skops_trusted_types=list(TRUSTED_TYPES),
        signature=infer_signature(sample, bundle.scorer.pipeline.predict_proba(sample)),
        pip_requirements=[],
        pyfunc_predict_fn="predict_proba",
    )
    return mlflow.pyfunc.load_model(str(folder))


@pytest.fixture(scope="module")
def scoring(
    bundles: dict[int, LoadedVersion], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """What `mlflow models serve` would run for version 1."""
    before = dict(os.environ)
    app = scoring_server.init(
        save_as_mlflow(bundles[1], tmp_path_factory.mktemp("mlflow") / "model")
    )
    yield TestClient(app, raise_server_exceptions=False)
    os.environ.clear()
    os.environ.update(before)  # MLflow notes there that it serves


TAKEN = {
    "split": {
        "dataframe_split": {
            "columns": COLUMNS,
            "data": [[row[name] for name in COLUMNS] for row in ROWS],
        }
    },
    "split, columns turned": {"dataframe_split": TURNED},
    "split with index": {"dataframe_split": {**TURNED, "index": [7, 8, 9]}},
    "records": {"dataframe_records": ROWS},
    "records with a value missing": {"dataframe_records": [RECORD, WITHOUT_VISITS]},
    "records with null": {"dataframe_records": [{**RECORD, "visits": None}, RECORD]},
    "records with NaN": {"dataframe_records": [NAN_ROW, RECORD]},
    "records with another column": {"dataframe_records": [{**RECORD, "zzz": 1, "left": "True"}]},
    "records beside params": {"dataframe_records": ROWS, "params": {"a": 1}, "more": 2},
    "a number written as text": {"dataframe_records": [{**RECORD, "visits": "3"}]},
    "instances by row": {"instances": ROWS},
    "instances by column": {"instances": BY_COLUMN},
    "instances with null": {"instances": [{**RECORD, "visits": None}, RECORD]},
    "one instance": {"instances": RECORD},
    "inputs by column": {"inputs": BY_COLUMN},
    "inputs by column, with null": {"inputs": {**BY_COLUMN, "visits": [None, 2.5, 3.0]}},
    "inputs by column, one value for all": {"inputs": {**BY_COLUMN, "visits": 4.0}},
    "inputs by column, another one": {"inputs": {**BY_COLUMN, "zzz": [1, 2, 3]}},
    "inputs by row": {"inputs": ROWS},
    "inputs by row, with a value missing": {"inputs": [RECORD, WITHOUT_VISITS]},
    "one input": {"inputs": RECORD},
}
TAKEN_CSV = {
    "rows": write_csv(COLUMNS, *([row[name] for name in COLUMNS] for row in ROWS)),
    "columns turned": write_csv(TURNED["columns"], *TURNED["data"]),
    "with the index of a frame": write_csv(["", *COLUMNS], [0, *RECORD.values()]),
    "another column": write_csv([*COLUMNS, "zzz"], [*RECORD.values(), 4]),
    "nulls of several spellings": write_csv(
        COLUMNS,
        [20.5, "", "gold", "True"],
        [20.5, "NA", "gold", "True"],
        ["null", 3, "gold", "True"],
    ),
    "blank lines, line feeds": write_csv(COLUMNS, list(RECORD.values())).replace("\r\n", "\n\n"),
    "a mark of the byte order": "\ufeff" + write_csv(COLUMNS, list(RECORD.values())),
    "quotes": write_csv(COLUMNS, [20.5, 3, 'go"l,d', "True"], [" 20.5 ", 3, "two\nlines", "False"]),
}


def compare(scoring: TestClient, service: Service, content: str, form: str) -> None:
    theirs, ours = ask(scoring, content, form), ask(service.client, content, form)
    assert theirs.status_code == 200, theirs.text
    assert ours.status_code == 200, ours.text
    assert ours.headers["content-type"] == theirs.headers["content-type"]
    assert ours.json().keys() == theirs.json().keys()
    np.testing.assert_allclose(
        ours.json()["predictions"], theirs.json()["predictions"], rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("name", TAKEN)
def test_json_is_answered_as_mlflow_answers_it(
    scoring: TestClient, service: Service, name: str
) -> None:
    """Every form of JSON gives the same probabilities in the same shape as the scoring app of
    MLflow."""
    compare(scoring, service, json.dumps(TAKEN[name]), "application/json")


@pytest.mark.parametrize("name", TAKEN_CSV)
def test_csv_is_answered_as_mlflow_answers_it(
    scoring: TestClient, service: Service, name: str
) -> None:
    """CSV gives the same probabilities as there, however columns are ordered and nulls are
    written."""
    compare(scoring, service, TAKEN_CSV[name], "text/csv; charset=utf-8")


A_NUMBER = "wanted a number up to 3.4e+38 or null"
REFUSED: dict[str, tuple[Any, str]] = {
    "no column of a name": ({"dataframe_records": [WITHOUT_VISITS]}, "got none named visits"),
    "a misspelt column": (
        {"dataframe_records": [{**WITHOUT_VISITS, "visit": 1}]},
        "got none named visits; unknown: visit",
    ),
    "a column missing in split": (
        {"dataframe_split": {"columns": COLUMNS[:3], "data": [[1, 2, "gold"]]}},
        "got none named returning",
    ),
    "a column missing in inputs": (
        {"inputs": {"plan": ["gold"]}},
        "got none named monthly spend, visits, returning",
    ),
    "split without names": (
        {"dataframe_split": {"data": [list(RECORD.values())]}},
        "got none named monthly spend",
    ),
    "split with a column twice": (
        {"dataframe_split": {"columns": [*COLUMNS, "plan"], "data": [[1, 2, "a", "b", 3]]}},
        "got plan 2 times",
    ),
    "split with a short row": (
        {"dataframe_split": {"columns": COLUMNS, "data": [[1, 2, "gold"]]}},
        "got 3 in row 0",
    ),
    "split with another part": (
        {"dataframe_split": {"columns": COLUMNS, "data": [], "x": 1}},
        "wanted columns, data",
    ),
    "split of no rows": (
        {"dataframe_split": {"columns": COLUMNS, "data": []}},
        "wanted at least one row, got none",
    ),
    "records as one object": (
        {"dataframe_records": RECORD},
        "dataframe_records: wanted a list of objects",
    ),
    "records of lists": (
        {"dataframe_records": [list(RECORD.values())]},
        "got a list of 4 as row 0",
    ),
    "a text for a number": (
        {"dataframe_records": [RECORD, {**RECORD, "visits": "x"}]},
        f'visits, row 1: {A_NUMBER}, got "x"',
    ),
    "an infinite number": (
        {"dataframe_records": [{**RECORD, "visits": float("inf")}]},
        f"visits, row 0: {A_NUMBER}, got a number too",
    ),
    "instances of lists": (
        {"instances": [list(RECORD.values())]},
        "instances: wanted a list of objects",
    ),
    "instances with a gap": (
        {"instances": [RECORD, WITHOUT_VISITS]},
        "wanted a value for visits in each row, got none in row 1",
    ),
    "inputs of two lengths": (
        {"inputs": {**BY_COLUMN, "plan": ["gold"]}},
        "got 1 values for plan and 3 for another",
    ),
    "inputs as lists of one": (
        {"inputs": {name: [[value]] for name, value in RECORD.items()}},
        "got a list of 1",
    ),
    "two forms": ({"inputs": RECORD, "instances": RECORD}, "got instances and inputs"),
    "no form": ({"rows": ROWS}, "got an object of 1"),
    "a list": (ROWS, "got a list of 3"),
    "no JSON": (None, "wanted JSON"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_mlflow_refuses_is_refused_with_the_reason(
    scoring: TestClient, service: Service, name: str
) -> None:
    """The status is MLflow's 400, the body has its error_code and message, and the message names
    what was wanted and what came."""
    content, message = REFUSED[name]
    written = json.dumps(content) if content is not None else "{"
    theirs, ours = ask(scoring, written), ask(service.client, written)
    assert (theirs.status_code, ours.status_code) == (400, 400)
    assert {"error_code", "message"} == ours.json().keys() <= theirs.json().keys()
    assert message in ours.json()["message"]
    assert len(service.records.read(service.use_case)) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (write_csv(COLUMNS[:3], [1, 2, "gold"]), "got none named returning"),
        (
            write_csv(COLUMNS, ["x", 3, "gold", "True"]),
            'monthly spend, row 0: wanted a number up to 3.4e+38 or null, got "x"',
        ),
        (
            write_csv(COLUMNS, list(RECORD.values()), [*RECORD.values(), 5]),
            "wanted at most 4 values in each row, got 5 in row 1",
        ),
        (write_csv(COLUMNS), "wanted at least one row, got none"),
        ("", "wanted CSV whose first line names the columns, got nothing"),
        (b"\xff", "wanted CSV in UTF-8"),
    ],
)
def test_broken_csv_is_refused_as_mlflow_does(
    scoring: TestClient, service: Service, content: str | bytes, message: str
) -> None:
    """400 there and here; here the message names column and row."""
    theirs, ours = ask(scoring, content, "text/csv"), ask(service.client, content, "text/csv")
    assert (theirs.status_code, ours.status_code) == (400, 400)
    assert message in ours.json()["message"]


def test_a_column_named_twice_in_csv_is_refused(service: Service) -> None:
    """Where MLflow takes the first of the two without a word, the column is named."""
    answer = ask(
        service.client, write_csv([*COLUMNS, "plan"], [*RECORD.values(), "basic"]), "text/csv"
    )
    assert answer.status_code == 400
    assert "wanted each column once, got plan 2 times" in answer.json()["message"]


@pytest.mark.parametrize(
    "form", ["text/plain", "text/csv; charset=latin-1", "text/csv; header=present"]
)
def test_other_content_types_are_refused_as_mlflow_does(
    scoring: TestClient, service: Service, form: str
) -> None:
    """415 as plain text there and here."""
    theirs, ours = ask(scoring, "", form), ask(service.client, "", form)
    assert (theirs.status_code, ours.status_code) == (415, 415)
    assert theirs.headers["content-type"] == ours.headers["content-type"]
    assert service.client.post("/invocations", content="{}").status_code == 415


def test_ping_and_version_answer_as_mlflows_do(scoring: TestClient, empty_service: Service) -> None:
    """The same bytes, status and content type; before the first model /ping is 404, which MLflow
    says without one."""
    service = empty_service
    missing = service.client.get("/ping")
    assert (missing.status_code, missing.text) == (404, "\n")
    service.promote(1)
    for path in ("/ping", "/version"):
        theirs, ours = scoring.get(path), service.client.get(path)
        assert (200, ours.status_code, ours.content) == (theirs.status_code, 200, theirs.content)
        assert ours.headers["content-type"] == theirs.headers["content-type"]
