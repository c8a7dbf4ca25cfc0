"""The login in front of a server that has none of its own: MLflow, Prefect.

Programs send HTTP Basic. People open a link with `?token=`, which is answered with a cookie and the
page without the token, so that it stays in no history and no log.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs, quote

from closedloop.operations.access.foreign import OwnHosts

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

# They say that the server runs, and nothing else.
_HEALTH = frozenset({"/health", "/api/health"})
_NO_LOGIN = (
    "wanted a login, got none or an old one: open the link that closedloop up printed or that "
    "closedloop status shows; programs send HTTP Basic (docs/operate.md)"
)


class Guard:
    """An ASGI application behind a `login` (`user:password`) and the rules of `hosts`.

    `port` tells its cookie from those of other servers under the same name. A refused request gets
    400, 401, 403 or 415, a refused websocket no handshake.
    """

    def __init__(self, application: Application, login: str, hosts: OwnHosts, port: int) -> None:
        self._application, self._hosts = application, hosts
        self._basic = base64.b64encode(login.encode())
        self._token = login.partition(":")[2].encode()
        self._cookie = f"closedloop-{port}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        foreign = self._hosts.refuse(scope)
        if foreign is not None:
            await _refuse(scope, send, foreign.status, foreign.reason)
        elif self._has_token(scope):
            cookie = self._cookie + b"=" + self._token + b"; Path=/; HttpOnly; SameSite=Strict"
            page = "/" + quote(scope["path"].lstrip("/"))
            headers = [(b"location", page.encode()), (b"set-cookie", cookie)]
            await _answer(send, 303, "", [*headers, (b"referrer-policy", b"no-referrer")])
        elif self._is_known(scope["headers"]) or _asks_for_health(scope):
            # The page was found to be ours, and need not be checked again by other rules.
            headers = [(name, value) for name, value in scope["headers"] if name != b"origin"]
            await self._application({**scope, "headers": headers}, receive, send)
        else:
            await _refuse(scope, send, 401, _NO_LOGIN)

    def _is_known(self, headers: Headers) -> bool:
        for name, value in headers:
            if name == b"authorization" and value[:6].lower() == b"basic ":
                if hmac.compare_digest(value[6:].strip(), self._basic):
                    return True
            elif name == b"cookie":
                for part in value.split(b";"):
                    cookie, _, given = part.strip().partition(b"=")
                    if cookie == self._cookie and hmac.compare_digest(given, self._token):
                        return True
        return False

    def _has_token(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope["method"] != "GET":
            return False
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return hmac.compare_digest(given.encode(), self._token)


def _asks_for_health(scope: Mapping[str, Any]) -> bool:
    return (
        scope["type"] == "http" and scope["path"] in _HEALTH and scope["method"] in ("GET", "HEAD")
    )


async def _refuse(scope: Scope, send: Send, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
        return
    await _answer(send, status, reason, [])


async def _answer(send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]]) -> None:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"cache-control", b"no-store"),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
