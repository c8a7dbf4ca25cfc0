"""Logging in with a key or with the link of `closedloop up`, and logging out."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from api.page.desk import Desk, read_form
from closedloop.operations.api_keys import ApiKey, Role

# An address on this page: one slash, and nothing that a browser reads as another server.
_OURS = re.compile(r"/(?![/\\])[A-Za-z0-9_./?=&%~:+-]{0,500}")
_LONGEST_KEY = 200
_UNKNOWN = "That key is not known: it was mistyped or removed."
_SLOW_DOWN = "Too many logins failed: wait a minute."


def login_routes(desk: Desk) -> list[Route]:
    """The routes of the login."""
    door = _Login(desk)
    return [
        Route("/login", door.ask, methods=["GET"]),
        Route("/login", door.log_in, methods=["POST"]),
        Route("/enter", door.enter, methods=["GET"]),
        Route("/logout", door.log_out, methods=["POST"]),
    ]


class _Login:
    """The form has a token, too, bound to a cookie of its own: there is no session yet."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._secret = desk, secrets.token_bytes(32)
        self._cookie = f"{desk.cookie}-form"

    async def ask(self, request: Request) -> Response:
        """The form, or the way on for somebody who is logged in and may go there."""
        there = _read_next(request.query_params.get("next", "/"))
        if self._came_from_elsewhere(request):
            # Browsers send our cookie only with what our own pages ask for: so ask again from one.
            return self._desk.show(request, "again.html", {"there": there})
        return self._show(request, there, "")

    async def log_in(self, request: Request) -> Response:
        form = await read_form(request)
        there = _read_next(form.get("next", "/"))
        token = self._token_of(request.cookies.get(self._cookie, ""))
        if not hmac.compare_digest(form.get("token", "").encode(), token.encode()):
            return self._show(request, there, "That form was too old: try again.", 403)
        address = request.client.host if request.client else ""
        if not self._desk.attempts.may_try(address):
            return self._show(request, there, _SLOW_DOWN, 429)
        opened = self._desk.sessions.open_with_key(form.get("key", "").strip()[:_LONGEST_KEY])
        if isinstance(opened, tuple):
            self._desk.sessions.close(request.cookies.get(self._desk.cookie, ""))
            return self._let_in(request, opened[0], there)
        if isinstance(opened, ApiKey):
            said = (
                f"{opened.name} is the key of a client, which asks for predictions. This page "
                "wants that of a viewer or an operator."
                if opened.role is Role.CLIENT
                else f"{opened.name} is a key for {', '.join(opened.use_cases)} only. This page "
                f"is about {self._desk.loop.use_case.name}."
            )
            return self._show(request, there, said, 403)
        self._desk.attempts.note_failure(address)
        return self._show(request, there, _UNKNOWN, 403)

    async def enter(self, request: Request) -> Response:
        """Let in whoever has the link; the page that follows has no secret in its address."""
        address = request.client.host if request.client else ""
        if not self._desk.attempts.may_try(address):
            return self._show(request, "/", _SLOW_DOWN, 429)
        opened = self._desk.sessions.open_with_link(request.query_params.get("token", ""))
        if opened is not None:
            return self._let_in(request, opened[0], "/")
        self._desk.attempts.note_failure(address)
        said = "That link is an old one: closedloop status shows the link of now."
        return self._show(request, "/", said, 403)

    async def log_out(self, request: Request) -> Response:
        form, session = await read_form(request), self._desk.find_session(request)
        if session is not None and not session.is_token(form.get("token", "")):
            return self._desk.show_message(
                request, 403, "Nothing was done", "That form was too old.", "Try again."
            )
        self._desk.sessions.close(request.cookies.get(self._desk.cookie, ""))
        answer = RedirectResponse("/login", 303)
        self._desk.give_cookie(request, answer, "")
        return answer

    def _let_in(self, request: Request, identity: str, there: str) -> Response:
        answer = RedirectResponse(there, 303)
        self._desk.give_cookie(request, answer, identity)
        return answer

    def _show(self, request: Request, there: str, said: str, status: int = 200) -> Response:
        cookie = request.cookies.get(self._cookie, "") or secrets.token_urlsafe(16)
        facts = {"there": there, "said": said, "token": self._token_of(cookie)}
        answer = self._desk.show(request, "login.html", facts, status)
        answer.set_cookie(
            self._cookie,
            cookie,
            path="/login",
            secure=self._desk.secure or request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return answer

    def _token_of(self, cookie: str) -> str:
        return hmac.new(self._secret, cookie.encode(), hashlib.sha256).hexdigest()

    def _came_from_elsewhere(self, request: Request) -> bool:
        return request.headers.get("sec-fetch-site") == "cross-site"


def _read_next(there: str) -> str:
    return there if _OURS.fullmatch(there) else "/"
