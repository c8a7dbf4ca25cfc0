"""`/` of the API: the way to the page for people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from api.guard.keys import Keys
from closedloop.operations.api_keys import add_key

BROWSER = {"Accept": "text/html,application/xhtml+xml"}


def test_a_browser_is_led_to_the_page(make_service: Callable[..., Any], tmp_path: Path) -> None:
    """Where it is, or to links without it; a program gets the links as JSON. None needs a key,
    because a browser has none to send, and none tells anything of the model."""
    path = tmp_path / "keys.json"
    add_key(path, "shop")
    led = make_service(keys=Keys(path, needed=False), page_url="http://127.0.0.1:8001")
    answer = led.client.get("/", headers=BROWSER, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (302, "http://127.0.0.1:8001")
    assert led.client.get("/").json()["page"] == "http://127.0.0.1:8001"
    plain = make_service(keys=Keys(path, needed=False))
    page = plain.client.get("/", headers=BROWSER)
    assert page.status_code == 200
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "closedloop page" in page.text
    assert 'href="/docs"' in page.text
    assert "page" not in plain.client.get("/").json()
