"""Which requests count as those of a foreign page."""

from __future__ import annotations

import pytest

from closedloop.operations.access.foreign import OwnHosts
from tests.unit.operations.requests_made import OURS, scope_of

PAGE = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]
BODY = ("Content-Length", "2")


def refused(*headers: tuple[str, str], method: str = "GET", host: str = "127.0.0.1") -> int:
    """The status with which a request is refused, 0 when it is not."""
    foreign = OwnHosts(host, ["Loop.Example.org"]).refuse(scope_of(*headers, method=method))
    return foreign.status if foreign else 0


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:4200", 0),
        ("127.0.0.1", 0),
        ("localhost:9000", 0),  # through a tunnel
        ("LOCALHOST:4200", 0),
        ("[::1]:4200", 0),
        ("loop.example.org", 0),  # CLOSEDLOOP_ALLOWED_HOSTS
        ("evil.example:4200", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:4200", 403),
        ("user@127.0.0.1:4200", 403),
        ("127.0.0.1:4200@evil.example", 403),
        ("127.0.0.1:4200, evil.example", 403),
        ("127.0.0.1:", 403),
        ("127.0.0.1:x", 403),
        ("0.0.0.0:4200", 403),
        ("192.168.0.7:4200", 403),
        ("::1", 403),
        ("[::1", 403),
        ("", 403),
        ("\xe9vil", 403),
        ("127.0.0.1:4200\n", 403),
    ],
)
def test_a_server_is_asked_under_its_own_names(host: str, status: int) -> None:
    """Those of loopback and those that were named, in any case and with any port; nothing that only
    looks like one."""
    assert refused(("Host", host)) == status


def test_one_host_is_named() -> None:
    """A request without Host (HTTP/1.0) or with two of them is refused."""
    scope = scope_of()
    scope["headers"] = []
    foreign = OwnHosts("127.0.0.1").refuse(scope)
    assert foreign is not None
    assert foreign.status == 400
    assert refused(("Host", OURS), ("Host", OURS)) == 400


@pytest.mark.parametrize("listens", ["0.0.0.0", "::", "10.1.2.3"])
def test_the_address_of_a_connection_is_a_name(listens: str) -> None:
    """Whoever listens on the network may be asked for the address at which the request came in, not
    for 0.0.0.0."""
    scope = {**scope_of(("Host", "10.1.2.3:4200")), "server": ("10.1.2.3", 4200)}
    assert OwnHosts(listens).refuse(scope) is None
    assert refused(("Host", "0.0.0.0:4200"), host=listens) == 403


@pytest.mark.parametrize(
    ("headers", "method", "status"),
    [
        ([], "GET", 0),
        ([("Origin", f"http://{OURS}")], "POST", 0),
        ([("Origin", f"https://{OURS}")], "POST", 0),
        ([("Origin", "null")], "GET", 403),
        ([("Origin", "")], "POST", 403),
        ([("Origin", "http://127.0.0.1:3000")], "POST", 403),
        ([("Origin", "http://localhost:4200")], "GET", 403),
        ([("Origin", f"http://{OURS}.evil.example")], "PUT", 403),
        ([("Sec-Fetch-Site", "none"), *PAGE], "GET", 0),
        ([("Sec-Fetch-Site", "same-origin")], "DELETE", 0),
        ([("Sec-Fetch-Site", "cross-site"), *PAGE], "GET", 0),  # a link on another page
        ([("Sec-Fetch-Site", "same-site"), *PAGE], "GET", 0),
        ([("Sec-Fetch-Site", "cross-site"), *PAGE], "POST", 403),  # a form there
        ([("Sec-Fetch-Site", "same-site")], "GET", 403),  # a script of another port
        ([("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Dest", "image")], "GET", 403),
        (
            [
                ("Sec-Fetch-Site", "cross-site"),
                ("Sec-Fetch-Mode", "navigate"),
                ("Sec-Fetch-Dest", "iframe"),
            ],
            "GET",
            403,
        ),
    ],
)
def test_a_page_of_another_site_may_only_link(
    headers: list[tuple[str, str]], method: str, status: int
) -> None:
    """A person may follow a link from anywhere; nothing else that another page causes passes, not
    even a GET, and neither does a page that hides where it comes from."""
    assert refused(*headers, method=method) == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([BODY, ("Content-Type", "application/json")], 0),
        ([BODY, ("Content-Type", "Application/JSON; charset=utf-8")], 0),
        ([BODY, ("Content-Type", "application/octet-stream")], 0),
        ([BODY], 415),
        ([("Transfer-Encoding", "chunked")], 415),
        ([BODY, ("Content-Type", "text/plain; x=application/json")], 415),
        ([BODY, ("Content-Type", " TEXT/plain")], 415),
        ([BODY, ("Content-Type", "application/x-www-form-urlencoded")], 415),
        ([BODY, ("Content-Type", "multipart/form-data; boundary=a")], 415),
        ([("Content-Length", "0")], 0),
        ([("Content-Length", "0"), ("Content-Type", "text/plain")], 0),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "PUT", "DELETE"])
def test_a_body_has_a_type_that_no_form_can_send(
    headers: list[tuple[str, str]], status: int, method: str
) -> None:
    """A browser sends any other type to another site only after asking, and is never told yes."""
    assert refused(*headers, method=method) == status
