"""MLflow's scoring protocol: records, ids, limits, and any body that a client may send."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from closedloop.bundle.loaded import LoadedVersion
from tests.api.mlflow_requests import COLUMNS, RECORD, ask, write_csv

Service = Any  # tests/api/conftest.py


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
            service.metric(f'closedloop_predictions_total{{prediction="{prediction}",version="1"}}')
            or 0
            for prediction in ("False", "True")
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
        ask(service.client, json.dumps({"inputs": inputs}))
        for inputs in (["gold", "basic"], {"plan": ["gold", "basic"]})
    )
    assert bare.status_code == 200, bare.text
    assert bare.json() == named.json()


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
NAMES = st.sampled_from([*COLUMNS, "customer", "columns", "data", "index", "zzz"])
ANY = st.recursive(
    SCALARS,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(NAMES, children, max_size=5),
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
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
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
    for shown in taken["application/json"]["examples"].values():
        assert ask(service.client, json.dumps(shown["value"])).status_code == 200
    assert ask(service.client, taken["text/csv"]["example"], "text/csv").status_code == 200
    assert {"200", "400", "413", "415", "503"} == set(page["responses"])
