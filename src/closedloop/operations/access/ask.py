"""One question to a server over HTTP, with a login."""

from __future__ import annotations

import base64
import json
import urllib.request
from typing import Any


def ask(
    address: str,
    login: str = "",
    content: Any = None,
    *,
    timeout: float = 5.0,
    through_proxy: bool = False,
) -> bytes:
    """GET, or POST of JSON; returns the body of the answer.

    `login` is `user:password`; no proxy gets to see it, unless `through_proxy` lets the environment
    choose. Raises urllib.error.HTTPError for an answer other than 2xx, OSError when there is none
    within `timeout` seconds.
    """
    headers = {}
    if login:
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    body = None
    if content is not None:
        body, headers["Content-Type"] = json.dumps(content).encode(), "application/json"
    proxies = urllib.request.ProxyHandler(None if through_proxy else {})
    opener = urllib.request.build_opener(proxies, _Stay())
    request = urllib.request.Request(address, body, headers)
    with opener.open(request, timeout=timeout) as response:
        return bytes(response.read())


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would take the login elsewhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None
