"""MLflow's scoring protocol: beside MLflow's own scoring app, which serves the same pipeline."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mlflow.models import infer_signature
from mlflow.pyfunc import scoring_server

from closedloop.bundle.loaded import LoadedVersion
from closedloop.bundle.skops_model import TRUSTED_TYPES

Service = Any  # tests/api/conftest.py
COLUMNS = ["monthly spend", "visits", "plan", "returning"]
ROWS: list[dict[str, Any]] = [
    {"monthly spend": 20.5, "visits": 3, "plan": "gold", "returning": "True"},
    {"monthly spend": 412.25, "visits": -7.5, "plan": "basic", "returning": "False"},
    {"monthly spend": 0.0, "visits": 90, "plan": "never seen", "returning": "True"},
]
RECORD = ROWS[0]
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


def ask(client: TestClient, content: str | bytes, form: str = "application/json") -> Any:
    return client.post("/invocations", content=content, headers={"content-type": form})


def write_csv(*lines: list[Any]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(lines)
    return written.getvalue()


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
        "got 1 for plan and 3 for another",
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


def test_values_are_those_of_predict_and_every_row_is_on_record(service: Service) -> None:
    """The same row has the same answer and the same spelling on record as by /predict, under the id
    and version of the headers, with the key that came as another column."""
    row = {"monthly spend": 20.5, "visits": None, "plan": " Gold ", "returning": True}
    wanted = service.predict(row)["predictions"][0]["probabilities"]
    answer = ask(
        service.client,
        json.dumps({"dataframe_records": [{**row, "customer": 17}, {**row, "customer": None}]}),
    )
    assert answer.json() == {"predictions": [[wanted["False"], wanted["True"]]] * 2}
    assert answer.headers["X-Closedloop-Version"] == "1"
    ids = answer.headers["X-Closedloop-Prediction-Ids"].split(",")
    recorded = service.records.read(service.use_case)
    assert (len(recorded), len(set(ids))) == (3, 2)
    assert recorded["customer"].tolist().count("17") == 1
    assert len(recorded.drop(columns=["customer"])[COLUMNS].astype(str).drop_duplicates()) == 1
    labelled = service.client.post(
        "/labels",
        json={"labels": [{"id": ids[0], "label": "True"}, {"key": "17", "label": "True"}]},
    )
    assert labelled.status_code == 200, labelled.text
    assert (
        sum(
            service.metric(f'closedloop_predictions_total{{prediction="{one}",version="1"}}') or 0
            for one in ("False", "True")
        )
        == 3
    )


def test_many_rows_bring_no_ids_in_the_header_and_too_many_are_refused(
    make_service: Callable[..., Service],
) -> None:
    """A hundred ids fit a header, more do not; beyond the limit of a request it is 413 in MLflow's
    form, for JSON and CSV."""
    service = make_service(max_rows=600)
    service.promote(1)
    hundred, more = (
        ask(service.client, json.dumps({"dataframe_records": [RECORD] * rows}))
        for rows in (100, 600)
    )
    assert len(hundred.headers["X-Closedloop-Prediction-Ids"].split(",")) == 100
    assert len(hundred.headers["X-Closedloop-Prediction-Ids"]) < 5_000
    assert "X-Closedloop-Prediction-Ids" not in more.headers
    assert len(more.json()["predictions"]) == 600
    columns = {name: [value] * 601 for name, value in RECORD.items()}
    for content, form in (
        (json.dumps({"dataframe_records": [RECORD] * 601}), "application/json"),
        (json.dumps({"inputs": columns}), "application/json"),
        (write_csv(COLUMNS, *[RECORD.values()] * 601), "text/csv"),
    ):
        refused = ask(service.client, content, form)
        assert refused.status_code == 413
        assert "at most 600 rows" in refused.json()["message"]


def test_without_a_model_it_is_503_in_mlflows_form(empty_service: Service) -> None:
    """The body has an error_code, and the message says what to do."""
    empty_service.follow()
    answer = ask(empty_service.client, json.dumps({"inputs": RECORD}))
    assert answer.status_code == 503
    assert answer.json() == {
        "error_code": "TEMPORARILY_UNAVAILABLE",
        "message": "no model in production yet: run closedloop monitor or closedloop train",
    }


def test_a_model_of_one_column_takes_a_bare_list(
    make_service: Callable[..., Service], make_bundle: Callable[..., LoadedVersion]
) -> None:
    """As with MLflow, a list of values is the only column there is."""
    service = make_service()
    content = {
        "name": "shop",
        "target": {"column": "left"},
        "source": {"query": "select 1", "windows": "*.csv"},
        "columns": {"plan": {"type": "categorical"}},
    }
    service.versions.bundles[4] = make_bundle("single", content=content)
    service.promote(4)
    bare, named = (
        ask(service.client, json.dumps({"inputs": one}))
        for one in (["gold", "basic"], {"plan": ["gold", "basic"]})
    )
    assert bare.status_code == 200, bare.text
    assert bare.json() == named.json()


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
NAMES = st.sampled_from([*COLUMNS, "customer", "columns", "data", "index", "zzz"])
ANY = st.recursive(
    SCALARS,
    lambda one: st.lists(one, max_size=4) | st.dictionaries(NAMES, one, max_size=5),
    max_leaves=15,
)
TABLE = st.fixed_dictionaries(dict.fromkeys(COLUMNS, ANY))
SPLIT = st.fixed_dictionaries(
    {
        "columns": st.just(COLUMNS) | ANY,
        "data": st.lists(st.lists(SCALARS, min_size=4, max_size=4)) | ANY,
    }
)
FORMS = st.dictionaries(
    st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs"]),
    ANY | TABLE | st.lists(TABLE) | SPLIT,
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    content=FORMS.map(json.dumps) | st.text() | st.binary(),
    form=st.sampled_from(["application/json", "text/csv"]),
)
@example(
    content=json.dumps({"dataframe_split": {"columns": [["a"]], "data": [[1]]}}),
    form="application/json",
)
@example(content=json.dumps({"inputs": {**RECORD, "visits": 10**400}}), form="application/json")
@example(content='{"inputs": "\\ud800"}', form="application/json")
@example(content='"' + "x" * 200_000, form="text/csv")
def test_nothing_that_is_sent_makes_a_fault_of_ours(
    service: Service, content: str | bytes, form: str
) -> None:
    """Any JSON, CSV or bytes are answered or refused in MLflow's form."""
    written = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    answer = ask(service.client, written, form)
    assert answer.status_code in (200, 400), answer.text
    assert answer.status_code == 200 or answer.json()["message"]


def test_the_examples_of_the_documentation_are_accepted(service: Service) -> None:
    """Every example of /invocations on the OpenAPI page is answered, and each status is
    documented."""
    page = service.client.get("/openapi.json").json()["paths"]["/invocations"]["post"]
    taken = page["requestBody"]["content"]
    for one in taken["application/json"]["examples"].values():
        assert ask(service.client, json.dumps(one["value"])).status_code == 200
    assert ask(service.client, taken["text/csv"]["example"], "text/csv").status_code == 200
    assert {"200", "400", "413", "415", "503"} == set(page["responses"])
