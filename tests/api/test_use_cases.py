"""Several use cases in one process: which one is asked, and what each has for itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.guard.keys import Keys
from api.guard.limits import Guard, RequestLimits
from api.process import Process
from api.use_cases import UseCases
from closedloop.bundle.loaded import LoadedVersion
from closedloop.operations.access.foreign import OwnHosts
from closedloop.operations.api_keys import add_key
from tests.waiting import until

Service = Any  # tests/api/conftest.py
Make = Callable[..., Any]
ROW: dict[str, Any] = {"monthly spend": 20.5, "visits": 3, "plan": "gold", "returning": True}
NAMES = ("shop", "shop-2", "shop_2")  # one is the beginning of the others


@pytest.fixture
def make_services(
    make_service: Make, make_bundle: Make, bundles: dict[int, LoadedVersion]
) -> Callable[..., dict[str, Service]]:
    """Three services of one process on one database; all answer with their version 1."""

    def make(**settings: Any) -> dict[str, Service]:
        process, services = Process(RequestLimits()), {}
        for name in NAMES:
            limits = settings.get("limits", {}).get(name, RequestLimits())
            service = make_service(
                use_case=name,
                process=process,
                limits=limits,
                **{key: value for key, value in settings.items() if key != "limits"},
            )
            content = {**bundles[1].use_case.content, "name": name}
            service.versions.bundles = {1: make_bundle(name, content=content)}
            service.promote(1)
            services[name] = service
        return services

    return make


def client_of(services: dict[str, Service], **guarding: Any) -> TestClient:
    guard = Guard(RequestLimits(), guarding.get("keys"), guarding.get("hosts"))
    return TestClient(UseCases({name: made.app for name, made in services.items()}, guard))


@pytest.fixture
def client(make_services: Callable[..., dict[str, Service]]) -> TestClient:
    return client_of(make_services())


def test_a_prefix_asks_its_use_case_and_no_prefix_the_first(client: TestClient) -> None:
    """Every route is there under each prefix, whichever protocol it speaks."""
    assert client.get("/model").json()["name"] == "shop"
    for name in NAMES:
        at = f"/use-cases/{name}"
        assert client.get(f"{at}/model").json()["name"] == name
        assert client.post(f"{at}/predict", json=ROW).json()["model"] == name
        assert client.post(f"{at}/explain", json=ROW).json()["model"] == name
        assert client.get(f"{at}/ready").status_code == 200
        assert client.get(f"{at}/v2/models/{name}").json()["name"] == name
        answer = client.post(f"{at}/invocations", json={"dataframe_records": [ROW]})
        assert answer.status_code == 200, answer.text
    assert client.get("/v2/models/shop-2").status_code == 404
    assert client.get("/use-cases/shop-2/v2/models/shop").status_code == 404


def test_labels_are_refused_for_predictions_of_another(client: TestClient) -> None:
    """An id is known to the use case that gave it, and to no other; so is a key."""
    row = {**ROW, "customer": "c-1"}
    answer = client.post("/use-cases/shop-2/predict", json=row).json()
    id = answer["predictions"][0]["id"]
    label = {"labels": [{"id": id, "label": "True"}]}
    for at in ("", "/use-cases/shop", "/use-cases/shop_2"):
        assert client.post(f"{at}/labels", json=label).status_code == 404
    assert client.post("/use-cases/shop-2/labels", json=label).json() == {"recorded": 1}


def test_each_is_counted_and_all_are_shown(client: TestClient) -> None:
    """One page of metrics has the numbers of every use case, apart."""
    for times, name in enumerate(NAMES, 1):
        for _ in range(times):
            client.post(f"/use-cases/{name}/predict", json=ROW)
    for at in ("", "/use-cases/shop_2"):
        said = client.get(f"{at}/metrics").text
        for times, name in enumerate(NAMES, 1):
            of_route = f'route="/predict",status="200",use_case="{name}"'
            assert f"closedloop_requests_total{{{of_route}}} {times}.0" in said
            assert f'closedloop_model_version{{use_case="{name}"}} 1.0' in said


def test_documents_name_the_way_that_was_gone(client: TestClient) -> None:
    """The OpenAPI document behind a prefix names it as its server, curl lines go there, and the
    front page leads there; without a prefix they are as in a process with one use case."""
    at = "/use-cases/shop-2"
    assert client.get(f"{at}/openapi.json").json()["servers"] == [{"url": at}]
    assert client.get(f"{at}/openapi.json").json()["info"]["title"] == "closedloop: shop-2"
    assert "servers" not in client.get("/openapi.json").json()
    assert f"http://testserver{at}/predict" in client.get(f"{at}/docs").text
    assert "http://testserver/predict" in client.get("/docs").text
    assert f"{at}/model" in client.get(at).json()
    assert f'href="{at}/model"' in client.get(f"{at}/", headers={"accept": "text/html"}).text
    assert "/model" in client.get("/").json()


def test_nobody_is_led_from_one_to_another(client: TestClient) -> None:
    """A slash too many leads to no path without the prefix, and a prefix in a prefix is none."""
    asked = [
        client.post(f"/use-cases/shop-2/{path}", json=ROW, follow_redirects=False)
        for path in ("predict/", "labels/", "use-cases/shop/predict", "use-cases/shop-2/predict")
    ]
    assert [answer.status_code for answer in asked] == [404, 404, 404, 404]


@pytest.mark.parametrize("path", ["shop-3/predict", "Shop/predict", "shop-/model", "", "/predict"])
def test_an_unknown_name_is_told_which_there_are(client: TestClient, path: str) -> None:
    """Whoever may ask learns how to go on; it is counted as a path that is unknown."""
    answer = client.post(f"/use-cases/{path}", json=ROW)
    assert answer.status_code == 404
    assert "wanted one of shop, shop-2, shop_2, got" in answer.json()["detail"]
    unmatched = 'closedloop_requests_total{route="unmatched",status="404",use_case="shop"} 1.0'
    assert unmatched in client.get("/metrics").text


def test_who_may_not_ask_learns_no_names(
    make_services: Callable[..., dict[str, Service]], tmp_path: Path
) -> None:
    """Without a key where one is wanted, every path is a 401."""
    key = add_key(tmp_path / "keys.json", "web-shop")
    keys = Keys(tmp_path / "keys.json", needed=False)
    client = client_of(make_services(keys=keys), keys=keys)
    for path in ("/use-cases/nothing/predict", "/use-cases/shop/predict", "/use-cases"):
        answer = client.post(path, json=ROW)
        assert (answer.status_code, "shop" in answer.text) == (401, False)
    answer = client.post("/use-cases/nothing/predict", json=ROW, headers={"X-API-Key": key})
    assert (answer.status_code, "shop-2" in answer.text) == (404, True)
    assert client.get("/use-cases/shop-2/health").status_code == 200


def test_a_page_of_another_site_learns_no_names(
    make_services: Callable[..., dict[str, Service]],
) -> None:
    """Without any key, whoever asks under another name than that of this machine is refused."""
    hosts = OwnHosts("127.0.0.1")
    rebound = client_of(make_services(hosts=hosts), hosts=hosts)
    for path in ("/use-cases/nothing/predict", "/use-cases/shop/predict"):
        answer = rebound.post(path, json=ROW, headers={"host": "evil.example"})
        assert (answer.status_code, "shop-2" in answer.text) == (403, False)


def test_a_flood_on_one_refuses_no_other(
    make_services: Callable[..., dict[str, Service]],
) -> None:
    """How many requests may be open is counted for each use case."""
    full = {"shop": RequestLimits(max_waiting_requests=0)}
    client = client_of(make_services(limits=full))
    answers = [client.post(f"/use-cases/{name}/predict", json=ROW) for name in NAMES]
    assert [answer.status_code for answer in answers] == [503, 200, 200]


def test_all_begin_and_end_with_the_process(
    make_services: Callable[..., dict[str, Service]],
) -> None:
    """Each follows its own `production` from the start, and what each accepted is on record at the
    end; they share their connections."""
    services = make_services(follow_seconds=0.01)
    with client_of(services) as client:
        # Found by the follower's thread: nobody promotes it by hand here.
        services["shop_2"].versions.production = None
        until(lambda: services["shop_2"].production.following.wanted is None, "the news")
        connections = client.app_state["connections"]
        for name in NAMES:
            assert client.post(f"/use-cases/{name}/predict", json=ROW).status_code == 200
    assert connections.open == set()
    for name, made in services.items():
        assert made.records.count(name).predictions == 1


def test_a_key_for_one_use_case_opens_no_other(
    make_services: Callable[..., dict[str, Service]], tmp_path: Path
) -> None:
    """Elsewhere it is a 403 that says whom it is for; it learns no other names, sees the metrics of
    its own, and gets no texts of errors of others. A key without use cases may do all."""
    path = tmp_path / "keys.json"
    some, every = add_key(path, "web", use_cases=["shop-2"]), add_key(path, "every")
    keys = Keys(path, needed=False)
    services = make_services(keys=keys)
    client = client_of(services, keys=keys)

    def ask(key: str, at: str, route: str = "/predict") -> Any:
        return client.post(f"{at}{route}", json=ROW, headers={"X-API-Key": key})

    for at in ("", "/use-cases/shop", "/use-cases/shop_2"):
        answer = ask(some, at)
        assert answer.status_code == 403
        assert "which is for shop-2 only" in answer.json()["detail"]
        assert "closedloop key add NAME --for shop" in answer.json()["detail"]
        for route in ("/explain", "/labels", "/invocations", "/no"):
            assert ask(some, at, route).status_code == 403, route
        for route in ("/metrics", "/model", "/docs", "/openapi.json", "/api/live"):
            answer = client.get(f"{at}{route}", headers={"X-API-Key": some})
            assert answer.status_code == 403, route
    assert ask(some, "/use-cases/shop-2").status_code == 200
    assert all(ask(every, f"/use-cases/{name}").status_code == 200 for name in NAMES)
    assert "wanted one of shop-2, got" in ask(some, "/use-cases/none").json()["detail"]
    at = "/use-cases/shop-2/metrics"
    said = {key: client.get(at, headers={"X-API-Key": key}).text for key in (some, every)}
    assert all(f'use_case="{name}"' in said[every] for name in NAMES)
    assert 'use_case="shop-2"' in said[some]
    assert not any(f'use_case="{name}"' in said[some] for name in ("shop", "shop_2"))
    services["shop_2"].versions.unreachable = OSError("host-of-mlflow")
    services["shop_2"].follow()
    for key, told in ((some, False), (every, True)):
        ready = client.get("/use-cases/shop_2/ready", headers={"X-API-Key": key})
        assert ("host-of-mlflow" in ready.text) is told
