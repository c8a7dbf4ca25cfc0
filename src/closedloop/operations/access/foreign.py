"""Requests that a page of another site may have caused: refused by what browsers say of them.

A browser sends whatever a page asks for to any address, servers of this machine included. It names
the host it believes to ask (`Host`), the site of the page (`Origin`, `Sec-Fetch-Site`), and asks
first before it sends a body whose type no form can have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_HOST = re.compile(rb"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_WILDCARDS = ("", "0.0.0.0", "::")
_MOST_ASKED = 1000  # clients choose the port that they send
# What a page may send to another site without asking first (Fetch, CORS-safelisted).
_FORM_TYPES = frozenset(
    {b"", b"text/plain", b"multipart/form-data", b"application/x-www-form-urlencoded"}
)


@dataclass(frozen=True)
class Foreign:
    """Why a request is refused, and the HTTP status of the answer."""

    status: int
    reason: str


class OwnHosts:
    """The names under which a server that listens on `host` may be asked.

    These are the names of loopback, `host`, the address at which a connection came in, and `more`.
    A page that has its name point to this machine (DNS rebinding) asks for another one. `forms` are
    taken from pages of ours only.
    """

    def __init__(self, host: str, more: Iterable[str] = (), *, forms: bool = False) -> None:
        self._forms = forms
        named = [] if host in _WILDCARDS else [host]
        self._names = frozenset(_as_host(name) for name in (*_LOOPBACK, *named, *more))
        self._asked: set[bytes] = set()

    def refuse(self, scope: Mapping[str, Any]) -> Foreign | None:
        """Why a request or websocket handshake (its ASGI scope) is foreign; None when it is not."""
        headers = dict(scope["headers"])
        hosts = 1 if b"host" in headers else 0
        if len(headers) < len(scope["headers"]):
            hosts = sum(name == b"host" for name, _ in scope["headers"])
        if hosts != 1:
            return Foreign(400, f"wanted one Host header, got {hosts}")
        host = headers[b"host"]
        if host not in self._asked and not self._is_ours(host, scope):
            return Foreign(
                403,
                f"Host: wanted a name of this server, got {_show(host)}: "
                "ask for 127.0.0.1, or add the name to CLOSEDLOOP_ALLOWED_HOSTS",
            )
        origin = headers.get(b"origin")
        if origin is not None and origin.lower() not in _pages_of(host.lower()):
            return Foreign(403, f"Origin: wanted {_show(host)}, got {_show(origin)}")
        site = headers.get(b"sec-fetch-site")
        if site in (b"cross-site", b"same-site") and not _follows_link(scope, headers):
            return Foreign(403, "Sec-Fetch-Site: wanted a page of this server, got another one")
        if self._forms:
            return None
        has_body = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
        content = headers.get(b"content-type", b"")
        if has_body and content.partition(b";")[0].strip().lower() in _FORM_TYPES:
            got = _show(content) if content else "none"
            return Foreign(415, f"Content-Type: wanted application/json, got {got}")
        return None

    def _is_ours(self, host: bytes, scope: Mapping[str, Any]) -> bool:
        found = _HOST.fullmatch(host.lower())
        if found is None:
            return False
        if found[1] in self._names:
            if len(self._asked) < _MOST_ASKED:
                self._asked.add(host)
            return True
        server = scope.get("server")
        return server is not None and found[1] == _as_host(str(server[0]))


def _pages_of(host: bytes) -> tuple[bytes, bytes]:
    return b"http://" + host, b"https://" + host


def _follows_link(scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> bool:
    """Whether a person goes to a page of ours, instead of another page asking for it."""
    return (
        scope.get("method") == "GET"
        and headers.get(b"sec-fetch-mode") == b"navigate"
        and headers.get(b"sec-fetch-dest") == b"document"
    )


def _as_host(name: str) -> bytes:
    """A host name or address as it stands in a Host header, without the port."""
    name = name.strip().lower()
    if ":" in name and not name.startswith("["):
        name = f"[{name}]"
    return name.encode("latin-1", "replace")


def _show(value: bytes) -> str:
    return repr(value[:80].decode("latin-1"))
