"""POST /explain: what adds up to the score of a row, from whom, and whom it keeps waiting."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

import httpx
import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from api import explain
from api.refusal import Refusal
from closedloop.bundle.loaded import LoadedVersion
from closedloop.bundle.skops_model import PipelineScorer
from closedloop.errors import ModelError
from tests.api.conftest import Explaining
from tests.api.test_under_load import serve

Service = Any  # tests/api/conftest.py
ROW: dict[str, Any] = {"monthly spend": 20.5, "visits": None, "plan": "new", "returning": True}


@dataclass
class Opened:
    """Opens what explains a version, and waits or fails on demand."""

    bundles: dict[int, LoadedVersion]
    versions: list[int] = field(default_factory=list)
    made: list[Explaining] = field(default_factory=list)
    fault: Exception | None = None
    waits: Event = field(default_factory=Event)
    goes_on: Event = field(default_factory=Event)

    def open(self, version: int) -> Explaining:
        self.versions.append(version)
        self.waits.set()
        assert self.goes_on.wait(60)
        if self.fault:
            raise self.fault
        self.made.append(Explaining(self.bundles[version]))
        return self.made[-1]


@pytest.fixture
def opened(bundles: dict[int, LoadedVersion]) -> Opened:
    return Opened(bundles)


@pytest.fixture
def explaining(make_service: Callable[..., Service], opened: Opened) -> Service:
    """A service that answers with version 1."""
    service = make_service(open_explainer=opened.open)
    service.promote(1)
    return service


def check_sums(service: Service, answer: httpx.Response, *rows: dict[str, Any]) -> None:
    """The parts of each row add up to the log odds of what /predict says."""
    assert answer.status_code == 200, answer.text
    explained, predicted = answer.json(), service.predict(*rows)
    assert (explained["model"], explained["version"]) == ("shop", predicted["version"])
    for parts, said in zip(explained["explanations"], predicted["predictions"], strict=True):
        (row,) = [parts["classes"]["True"]]
        odds = said["probabilities"]["True"] / said["probabilities"]["False"]
        assert row["margin"] == pytest.approx(np.log(odds), abs=1e-6)
        assert list(row["contributions"]) == list(service.use_case.columns)
        total = row["base"] + sum(row["contributions"].values())
        assert total == pytest.approx(row["margin"], abs=1e-6)


def test_parts_add_up_to_what_predict_says(service: Service, good_row: dict[str, Any]) -> None:
    """For each row, in order, in the columns of the contract; and an explanation is no prediction:
    nothing is recorded."""
    rows = [good_row, {**ROW, "customer": "c1"}, {**good_row, "visits": "1,234.5"}]
    answer = service.client.post("/explain", json={"rows": rows})
    assert service.records.count("shop").predictions == 0
    check_sums(service, answer, *rows)
    assert (answer.json()["method"], answer.json()["evaluations"]) == ("exact", 0)
    assert answer.json()["explanations"][0]["classes"]["True"]["errors"] is None
    check_sums(service, service.client.post("/explain", json=ROW), ROW)


def test_more_classes_and_another_learner(
    empty_service: Service, make_bundle: Callable[..., LoadedVersion]
) -> None:
    """Each of three classes has its parts; those of an estimate have errors and say their cost."""
    bundle = make_bundle("three", classes=("no", "yes", "maybe"))
    rows = bundle.reference()[list(bundle.use_case.columns)]
    labels = np.arange(len(rows)) % 3
    columns = bundle.scorer.pipeline[0]  # type: ignore[attr-defined]
    tree = DecisionTreeClassifier(max_depth=3, random_state=0)
    tree.fit(columns.transform(rows), labels)
    scorer = bundle.scorer
    sampled = PipelineScorer(make_pipeline(columns, tree), scorer.numeric, scorer.categorical)
    test = replace(bundle.self_test, rows=())
    versions = {1: bundle, 2: replace(bundle, scorer=sampled, self_test=test)}
    empty_service.versions.bundles = versions
    for version, method in ((1, "exact"), (2, "sampled")):
        empty_service.promote(version)
        answer = empty_service.client.post("/explain", json=ROW).json()
        assert (answer["version"], answer["method"]) == (version, method)
        parts = answer["explanations"][0]["classes"]
        assert list(parts) == ["no", "yes", "maybe"]
        for row in parts.values():
            total = row["base"] + sum(row["contributions"].values())
            assert total == pytest.approx(row["margin"], abs=1e-6)
    assert list(row["errors"]) == list(row["contributions"])
    assert max(row["errors"].values()) > 0
    assert answer["evaluations"] == 2 * 100 * 3 + 1


def test_a_version_is_opened_once_and_production_is_followed(
    explaining: Service, opened: Opened
) -> None:
    """On the first request and not before, again after a promotion and when what explained has
    ended; a version that does not load is answered by /predict all the same, and the refusal says
    why."""
    opened.goes_on.set()
    assert opened.versions == []
    for _ in range(2):
        check_sums(explaining, explaining.client.post("/explain", json=ROW), ROW)
    explaining.promote(2)
    check_sums(explaining, explaining.client.post("/explain", json=ROW), ROW)
    assert opened.versions == [1, 2]
    assert [made.alive for made in opened.made] == [False, True]
    opened.made[-1].alive = False
    check_sums(explaining, explaining.client.post("/explain", json=ROW), ROW)
    assert opened.versions == [1, 2, 2]
    opened.fault = ModelError(where="bundle 3", wanted="a tree", got="a hole", then="go back")
    explaining.promote(3)
    answer = explaining.client.post("/explain", json=ROW)
    assert answer.status_code == 503
    assert "version 3 could not explain these rows: " in answer.json()["detail"]
    assert "got a hole" in answer.json()["detail"]
    assert explaining.predict()["version"] == 3


def test_one_request_at_a_time_and_nobody_else_waits(explaining: Service, opened: Opened) -> None:
    """While one is explained, the next is a 429 that says when to retry, rows are answered, and
    production may move: the explanation is of the version that it names. The end of the service is
    that of what explains."""
    with serve(explaining.app) as url, ThreadPoolExecutor(1) as pool:
        first = pool.submit(httpx.post, f"{url}/explain", json=ROW, timeout=60)
        assert opened.waits.wait(60)
        second = httpx.post(f"{url}/explain", json=ROW, timeout=60)
        assert (second.status_code, second.headers["retry-after"]) == (429, "1")
        assert httpx.post(f"{url}/predict", json=ROW, timeout=60).json()["version"] == 1
        explaining.promote(2)
        assert httpx.post(f"{url}/predict", json=ROW, timeout=60).json()["version"] == 2
        opened.goes_on.set()
        assert first.result(60).json()["version"] == 1
        again = httpx.post(f"{url}/explain", json=ROW, timeout=60)
        assert (again.status_code, again.json()["version"]) == (200, 2)
        assert opened.made[-1].alive
    assert not any(made.alive for made in opened.made)


def test_more_rows_than_may_be_explained_are_refused(make_service: Callable[..., Service]) -> None:
    """One row over its own limit is a 413, of which /predict knows nothing; a bad row among good
    ones is named, and none is explained."""
    service = make_service(max_explained_rows=2)
    service.promote(1)
    assert service.client.post("/explain", json={"rows": [ROW] * 2}).status_code == 200
    answer = service.client.post("/explain", json={"rows": [ROW] * 3})
    assert answer.status_code == 413
    assert "at most 2 rows" in answer.json()["detail"]
    service.predict(*[ROW] * 3)
    answer = service.client.post("/explain", json={"rows": [ROW, {**ROW, "visits": "x"}]})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "rows", 1, "visits"]


def test_work_that_is_out_of_time_is_refused(service: Service, opened: Opened) -> None:
    """A 503 that says what to do; the next request is not in its way."""
    opened.goes_on.set()
    late = explain.Explanations(service.production, opened.open, max_rows=5, seconds=-1)
    for _ in range(2):
        with pytest.raises(Refusal, match=r"503: not explained within .* send fewer rows"):
            asyncio.run(late.answer(json.dumps(ROW).encode()))


def test_what_cannot_be_explained_says_so(
    empty_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a model a 503 as of /predict; without the libraries a 501 that names them."""
    asked = empty_service.client.post("/explain", json=ROW)
    assert asked.status_code == 503
    assert asked.json() == empty_service.client.post("/predict", json=ROW).json()
    empty_service.promote(1)
    monkeypatch.setattr(
        explain, "find_spec", lambda name: None if name == "sklearn" else explain.__spec__
    )
    asked = empty_service.client.post("/explain", json=ROW)
    assert asked.status_code == 501
    assert "got no sklearn" in asked.json()["detail"]
