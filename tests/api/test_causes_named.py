"""A request that cannot be read is answered with the cause, and what was not understood is never
scored as an unseen category."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from tests.api.mlflow_requests import COLUMNS, RECORD, ask, write_csv
from tests.api.v2_requests import GOOD, URL, tensor

Service = Any  # tests/api/conftest.py
ROW = {**RECORD, "customer": "c1"}
NAMED_NAN = [
    ('{"rows": [{"visits": NaN}]}', ["rows", 0, "visits"], "NaN"),
    ('{"visits": Infinity, "plan": "gold"}', ["visits"], "Infinity"),
    ('{"rows": [{"visits": 1}, {"visits": -Infinity}]}', ["rows", 1, "visits"], "-Infinity"),
    ("NaN", [], "NaN"),
]


@pytest.mark.parametrize(("body", "place", "name"), NAMED_NAN)
def test_a_literal_that_json_lacks_is_named(
    service: Service, body: str, place: list[Any], name: str
) -> None:
    """422 with its place, and what to send instead."""
    answer = service.client.post("/predict", content=body)
    assert answer.status_code == 422
    assert answer.json()["detail"] == [
        {
            "loc": ["body", *place],
            "msg": f"{name} is not JSON: send null",
            "type": "json_invalid",
        }
    ]


def test_every_literal_is_named_wherever_it_stands(service: Service) -> None:
    """All of them at once, up to the limit of faults; a body that is broken otherwise says so."""
    rows = [{**RECORD, "visits": float("nan"), "monthly spend": float("inf")}] * 2
    faults = service.client.post("/predict", content=json.dumps({"rows": rows})).json()["detail"]
    assert [fault["loc"][2:] for fault in faults] == [
        [0, "monthly spend"],
        [0, "visits"],
        [1, "monthly spend"],
        [1, "visits"],
    ]
    many = service.client.post("/predict", content=json.dumps({"rows": [float("nan")] * 500}))
    assert len(many.json()["detail"]) == 100
    label = '{"labels": [{"id": "a", "label": NaN}]}'
    assert "NaN is not JSON" in service.client.post("/labels", content=label).text
    broken = service.client.post("/predict", content='{"visits": NaN')
    assert "wanted JSON, got something else" in broken.json()["detail"][0]["msg"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("None", ": None is not JSON: send null"),
        ("nan", ": nan is not JSON: send null"),
        ("undefined", ": undefined is not JSON: send null"),
        ("True", ": True is not JSON: send true"),
        ("'gold'", ": ' is not JSON: send double quotes"),
        ("1,5,", """, at '"""),
        ("", """, at '}'"""),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/explain", "/invocations", URL, "/labels"])
def test_what_other_languages_write_is_named(
    service: Service, path: str, value: str, said: str
) -> None:
    """In each protocol the first thing that is not JSON is shown, with what to send instead."""
    body = f'{{"plan":\n  "größer", "visits": {value}}}'
    answer = service.client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == (400 if path in ("/invocations", URL) else 422)
    words = str(list(answer.json().values()))
    assert "wanted JSON, got something else: " in words
    assert said in words.replace("\\'", "'")


def test_mlflows_protocol_takes_nan_for_null(service: Service) -> None:
    """There NaN is what pandas writes for null, and scores like it."""
    split = {"columns": COLUMNS, "data": [[float("nan"), 3, "gold", "True"]]}
    answers = [
        ask(service.client, json.dumps({"dataframe_split": split}).replace("NaN", written))
        for written in ("NaN", "null")
    ]
    assert answers[0].status_code == 200
    assert answers[0].json() == answers[1].json()


@pytest.mark.parametrize(
    ("sign", "named"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")]
)
@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("with_bom", [False, True])
def test_csv_with_another_sign_between_values_is_named(
    service: Service, sign: str, named: str, quoted: bool, with_bom: bool
) -> None:
    """The sign that separates the columns is said, with what to send."""
    lines = [COLUMNS, ["60,5", "3", "gold", "True"]]
    cells = [[f'"{cell}"' if quoted else cell for cell in line] for line in lines]
    body = ("\ufeff" if with_bom else "") + "\r\n".join(sign.join(line) for line in cells)
    answer = ask(service.client, body.encode(), "text/csv")
    assert answer.status_code == 400
    assert answer.json()["message"] == (
        f"CSV: wanted commas between the values, got {named}: send commas, and a point as the "
        "decimal sign"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '"60,5",3,gold,True',
            'monthly spend, row 0: wanted a number up to 3.4e+38 or null, got "60,5": the decimal '
            "sign is a point",
        ),
        (
            "60,5,3,gold,True",
            "got 5 in row 0: the decimal sign is a point, and a value with a comma needs quotes",
        ),
    ],
)
def test_csv_with_decimal_commas_is_named(service: Service, line: str, message: str) -> None:
    """Quoted or not, the decimal sign is said."""
    answer = ask(service.client, f"{','.join(COLUMNS)}\n{line}\n", "text/csv")
    assert answer.status_code == 400
    assert message in answer.json()["message"]


@pytest.mark.parametrize("text", ["60,5", "1.234,56", "abc", "2026-01-01", "0x10"])
def test_a_text_that_is_no_number_is_never_scored(service: Service, text: str) -> None:
    """Not as null either: it is a 422 that names the field, with the decimal sign where that is
    the fault."""
    answer = service.client.post("/predict", json={**RECORD, "visits": text})
    assert answer.status_code == 422
    (fault,) = answer.json()["detail"]
    assert fault["loc"] == ["body", "visits"]
    assert fault["msg"].endswith(": the decimal sign is a point") == ("," in text)


def in_base64(text: str | None) -> str | None:
    return None if text is None else b64encode(text.encode()).decode()


def infer(service: Service, inputs: list[Any], **more: Any) -> Any:
    return service.client.post(URL, json={"inputs": inputs, **more})


def scores(answer: Any) -> list[float]:
    assert answer.status_code == 200, answer.text
    found: list[float] = answer.json()["outputs"][0]["data"]
    return found


def test_texts_in_base64_are_decoded(service: Service) -> None:
    """As MLServer's clients send them: the scores are those of the texts, not of a category that
    nobody has seen; nulls stay nulls."""
    content = {"content_type": "base64"}
    told = [
        {**given, "data": [in_base64(text) for text in given["data"]], "parameters": content}
        if given["datatype"] == "BYTES"
        else {**given, "parameters": {"content_type": "np"}}
        for given in GOOD
    ]
    plain = scores(infer(service, GOOD))
    assert scores(infer(service, told, parameters={"content_type": "pd"})) == plain
    unseen = [*GOOD[:2], tensor("plan", ["Z29sZA=="], "BYTES"), GOOD[3]]
    assert scores(infer(service, unseen)) != plain
    packed = tensor(
        "texts", [in_base64("gold"), None], "BYTES", (1, 2), parameters={"content_type": "base64"}
    )
    assert scores(infer(service, [*GOOD[:2], packed])) == plain
    assert scores(infer(service, [{**given, "parameters": {}} for given in GOOD])) == plain


@pytest.mark.parametrize(
    ("place", "content_type", "data", "message"),
    [
        (2, "datetime", ["2026-01-01"], 'np, pd, str, base64, got "datetime"'),
        (2, "pil", ["gold"], 'np, pd, str, base64, got "pil"'),
        (2, "base64", ["gold!"], "wanted texts in UTF-8 as base64, got"),
        (2, "base64", ["/w=="], "wanted texts in UTF-8 as base64, got"),
        (0, "base64", [1.0], "wanted base64 in BYTES only, got FP64"),
    ],
)
def test_a_content_type_that_is_not_read_is_refused(
    service: Service, place: int, content_type: str, data: list[Any], message: str
) -> None:
    """400 with the tensor and the cause."""
    inputs = list(GOOD)
    inputs[place] = {
        **inputs[place],
        "data": data,
        "parameters": {"content_type": content_type},
    }
    answer = infer(service, inputs)
    assert answer.status_code == 400
    assert f'input "{inputs[place]["name"]}"' in answer.json()["error"]
    assert message in answer.json()["error"]


def test_a_content_type_of_the_request_that_is_not_read_is_refused(service: Service) -> None:
    """400, with those that are read."""
    answer = infer(service, GOOD, parameters={"content_type": "base64"})
    assert answer.status_code == 400
    assert answer.json()["error"] == (
        'parameters: wanted a content_type of np, pd, str, got "base64"'
    )


def test_csv_of_the_right_form_is_still_read(service: Service) -> None:
    """Semicolons inside a quoted value are part of the value."""
    body = write_csv(COLUMNS, [20.5, 3, "gold; silver", "True"])
    assert ask(service.client, body, "text/csv").status_code == 200
