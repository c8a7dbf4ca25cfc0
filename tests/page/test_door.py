"""What gets in at all, and what a browser may do with an answer."""

from __future__ import annotations

import pytest

from closedloop.operations.api_keys import Role
from tests.page.conftest import ADDRESS, LINK, Place

PATHS = ("/", "/login", "/page.css", "/nowhere", "/alive", f"/enter?token={LINK}")


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_tells_the_browser_to_run_and_load_nothing(place: Place, path: str) -> None:
    """No script, no style but ours, nothing from elsewhere, in nobody's frame, kept by nobody; and
    no page holds a script, a style or an address of another server."""
    answer = place.visitor().get(path)
    policy = answer.headers["content-security-policy"]
    assert policy == (
        "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == (
        "public, max-age=3600" if path.endswith(".css") else "no-store"
    )
    # The name of SVG is written as an address; nobody goes there.
    text = answer.text.lower().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "<script" not in text
    assert "style=" not in text
    assert "http://" not in text
    assert "https://" not in text


@pytest.mark.parametrize("path", PATHS)
def test_a_foreign_host_is_refused(place: Place, path: str) -> None:
    """A page of another site that has its name point here gets nothing, whoever is logged in."""
    visitor = place.logged_in(Role.OPERATOR)
    for host in ("evil.example:8001", "127.0.0.1.evil.example", ""):
        assert visitor.get(path, Host=host).status_code in (400, 403), host


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/json"},
        {"Content_Type": "multipart/form-data; boundary=x"},
    ],
)
def test_a_form_of_another_site_is_refused(place: Place, headers: dict[str, str]) -> None:
    """Also with the cookie and the right token; the same form of our own page is taken."""
    visitor = place.logged_in(Role.OPERATOR)
    token = visitor.token("/")
    answer = visitor.post("/logout", {"token": token}, **headers)
    assert answer.status_code in (403, 415)
    assert visitor.get("/").status_code == 200
    assert visitor.post("/logout", {"token": token}).status_code == 303


def test_a_form_says_whose_it_is(place: Place) -> None:
    """Neither Origin nor Sec-Fetch-Site: no browser of today, and refused."""
    visitor = place.logged_in(Role.OPERATOR)
    token = visitor.token("/")
    answer = visitor.client.post("/logout", data={"token": token})
    assert answer.status_code == 403
    assert visitor.get("/").status_code == 200


def test_a_missing_token_is_refused(place: Place) -> None:
    """At the login, too, and one of another visitor is worth nothing."""
    key, visitor, other = place.add_key("anna", Role.VIEWER), place.visitor(), place.visitor()
    for token in ("", "made up", other.token("/login")):
        answer = visitor.post("/login", {"token": token, "key": key})
        assert answer.status_code == 403
    assert visitor.get("/").status_code == 303


def test_sizes_and_methods_are_bounded(place: Place) -> None:
    """A form that is too large, fields that are too many or no text, and other methods are each
    refused with a page."""
    visitor = place.visitor()
    large = visitor.post("/login", {"key": "x" * 70_000})
    assert large.status_code == 413
    many = visitor.post("/login", {f"field{number}": "1" for number in range(30)})
    assert many.status_code == 400
    for method in ("PUT", "DELETE", "PATCH"):
        answer = visitor.client.request(method, "/", headers={"Origin": ADDRESS})
        assert answer.status_code == 405
    assert visitor.post("/", {"a": "1"}).status_code == 405
    for answer in (large, many):
        assert "<h1>That did not work</h1>" in answer.text
