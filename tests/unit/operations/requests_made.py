"""Requests as an ASGI server describes them."""

from __future__ import annotations

from typing import Any

OURS = "127.0.0.1:4200"


def scope_of(
    *headers: tuple[str, str], method: str = "GET", path: str = "/", query: str = ""
) -> dict[str, Any]:
    """A request as an ASGI server describes it, with the Host of a loopback server."""
    named = [*headers] if any(name == "Host" for name, _ in headers) else [("Host", OURS), *headers]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in named],
        "server": ("127.0.0.1", 4200),
    }
