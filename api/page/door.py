"""Around every request of the page: whose browser asks, how much it may send, what it may load."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.guard.limits import Guard, RequestLimits
from api.refusal import Refusal
from closedloop.operations.access.foreign import OwnHosts

_LOG = logging.getLogger("closedloop.page")
# No script at all, nothing from anywhere else, in nobody's frame.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: then browsers send `Origin: null` with a form, and we could not tell whose
    # page it came from. This names us to nobody else either.
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
FORM = b"application/x-www-form-urlencoded"
_ALWAYS_ANSWERED = frozenset({"/alive"})
_MAY_ONLY_READ = frozenset({"GET", "HEAD"})
ShowError = Callable[[int, str, str], str]


class Door:
    """An app behind the limits, the rules of `hosts` and the headers of every answer.

    `show_error` makes the HTML of a refusal of its status, what is wrong, and what to do. An answer
    that sets one of the headers itself keeps its own.
    """

    def __init__(
        self, app: ASGIApp, limits: RequestLimits, hosts: OwnHosts, show_error: ShowError
    ) -> None:
        self._app, self._hosts, self._show_error = app, hosts, show_error
        self._guard = Guard(limits, None, hosts, _ALWAYS_ANSWERED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        receive, send_out = self._guard.close_early(scope, receive, send_with_headers)
        try:
            _refuse_foreign_form(scope)
            await self._guard.pass_to(self._app, scope, receive, send_out)
        except ClientDisconnect:
            return
        except Refusal as refusal:
            page = self._show_error(refusal.status, str(refusal.detail), "")
            await HTMLResponse(page, refusal.status)(scope, receive, send_out)
        except Exception as error:
            if started:
                return  # the app has answered and logged it
            found = uuid4().hex
            _LOG.error("error %s", found, exc_info=error)
            page = self._show_error(503, "The page failed.", f"Look for error {found} in its log.")
            await HTMLResponse(page, 503)(scope, receive, send_out)


def _refuse_foreign_form(scope: Scope) -> None:
    """Raise Refusal unless a request only reads, or is a form that says it comes from our page.

    Every browser names the page behind a form. What it names is checked by `hosts`.
    """
    if scope["method"] in _MAY_ONLY_READ:
        return
    headers = dict(scope["headers"])
    if scope["method"] != "POST":
        raise Refusal(405, f"wanted GET or POST, got {scope['method'][:20]}")
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != FORM:
        raise Refusal(415, "Content-Type: wanted a form")
    if b"origin" not in headers and headers.get(b"sec-fetch-site") != b"same-origin":
        raise Refusal(403, "wanted a form of this page, got one that does not say whose it is")


def own_hosts(host: str, more: Iterable[str]) -> OwnHosts:
    """The names under which the page may be asked, forms included."""
    return OwnHosts(host, more, forms=True)
