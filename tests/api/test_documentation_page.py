"""The page at /docs works without the internet and says what the OpenAPI document says."""

from __future__ import annotations

import json
import re
import shlex
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest

from api.documentation_page import render_page

HOSTILE = "</code><script>alert(1)</script>\"'&"


class Page(HTMLParser):
    """The tags of a page, their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(params=["a model", "no model"])
def answered(request: pytest.FixtureRequest, empty_service: Any) -> Any:
    """The service before and after its first model."""
    if request.param == "a model":
        empty_service.promote(1)
    return empty_service


def test_the_page_loads_nothing(answered: Any) -> None:
    """No script, image, font or style comes from elsewhere, every link leads to the page itself or
    to the document, and the browser is told to load nothing."""
    answer = answered.client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    page = Page(answer.text)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "img", "iframe", "object"})
    assert not re.search(r"url\(|@import", answer.text)
    assert all(named.keys().isdisjoint({"src", "srcset", "onclick"}) for _, named in page.tags)
    links = {named["href"] or "" for tag, named in page.tags if tag == "a"}
    there = {f"#{named['id']}" for _, named in page.tags if "id" in named}
    assert links - there == {"openapi.json"}
    assert "cdn" not in answer.text
    assert answered.client.get("/redoc").status_code == 404


def test_every_route_of_the_document_is_on_the_page(answered: Any) -> None:
    """With summary, parameters, the fields of its body, every status, and the address."""
    text = unescape(Page(answered.client.get("/docs").text).text)
    document = answered.client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            section = text.split(f"{method.upper()} {path}\n")[-1].split("Responses")
            assert f"{method.upper()} {path}" in text
            assert operation["summary"] in section[0]
            assert operation.get("description", "") in text
            for parameter in operation.get("parameters", []):
                assert parameter["name"] in section[0]
            for status, response in operation["responses"].items():
                assert f"{status}{response['description']}" in section[1]
    for name, schema in document["components"]["schemas"].items():
        assert f"\n{name}\n" in text
        assert all(field in text for field in schema.get("properties", {}))


def test_the_curl_line_of_a_prediction_can_be_run(service: Any) -> None:
    """What the page shows is what the service answers."""
    lines = re.findall(r"<pre>(curl .*?/predict .*?)</pre>", service.client.get("/docs").text)
    assert len(lines) == 2
    for line in lines:
        words = shlex.split(unescape(line))
        assert words[:3] == ["curl", "-s", "http://testserver/predict"]
        assert words[words.index("-H") + 1] == "Content-Type: application/json"
        body = words[words.index("--data-binary") + 1]
        assert service.client.post("/predict", content=body).status_code == 200


def test_names_of_a_table_cannot_write_into_the_page(service: Any) -> None:
    """A hostile name of a class, column, model or address is text, wherever it stands."""
    document = json.loads(
        json.dumps(service.app.openapi())
        .replace("customer", json.dumps(HOSTILE)[1:-1])
        .replace("Row", json.dumps(HOSTILE)[1:-1])
    )
    for operations in document["paths"].values():
        for operation in operations.values():
            operation.update(summary=HOSTILE, description=HOSTILE)
            for response in operation["responses"].values():
                response["description"] = HOSTILE
    document["paths"][f"/{HOSTILE}"] = {"get": {"summary": HOSTILE, "responses": {HOSTILE: {}}}}
    document["info"].update(title=HOSTILE, description=HOSTILE)
    text = render_page(document, f"http://{HOSTILE}")
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "<script" not in text
    assert HOSTILE in page.text
    known = {"lang", "charset", "name", "content", "href", "id", "class"}
    assert {name for _, named in page.tags for name in named} <= known
