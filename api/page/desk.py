"""What the routes of the page share: the loop, who is logged in, and how something is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.guard.keys import Keys
from api.page.attempts import Attempts
from api.page.frame import Frame, Templates
from api.page.sessions import LIFE_SECONDS, Session, Sessions
from api.refusal import Refusal
from closedloop.errors import ClosedLoopError
from closedloop.turn.open import Loop

_MOST_FIELDS = 20


@dataclass(frozen=True)
class Desk:
    """`links` are the navigation; `port` tells our cookie from those of other servers here.

    `secure` is set when people reach the page by https, whatever a proxy says of it.
    """

    loop: Loop
    keys: Keys
    sessions: Sessions
    links: Sequence[tuple[str, str]]
    port: int
    secure: bool = False
    attempts: Attempts = field(default_factory=Attempts)
    templates: Templates = field(default_factory=Templates)

    @property
    def cookie(self) -> str:
        """The name of the session's cookie."""
        return f"closedloop-page-{self.port}"

    def find_session(self, request: Request) -> Session | None:
        """Who sent this request, if that person is logged in."""
        return self.sessions.find(request.cookies.get(self.cookie, ""))

    def is_open_to_all(self) -> bool:
        """Whether everybody on this machine may read: nobody else reaches it, and no key exists."""
        self.keys.refresh()
        return not self.keys.wanted

    def ask_to_log_in(self, request: Request) -> Response | None:
        """The way to the login for somebody who may not read; None for all others."""
        if self.find_session(request) is not None or self.is_open_to_all():
            return None
        return go_to_login(request)

    def frame(self, request: Request | None, session: Session | None = None) -> Frame:
        """The frame of an answer to a request; None for one that was refused at the door."""
        if request is not None and session is None:
            session = self.find_session(request)
        here = "" if request is None else request.url.path
        name = self.loop.use_case.name
        return Frame(name, here, self.links, session, self.is_open_to_all())

    def show(
        self, request: Request, template: str, facts: Mapping[str, Any], status: int = 200
    ) -> Response:
        """The answer that shows a template."""
        return self.templates.answer(template, self.frame(request), facts, status)

    def show_message(
        self,
        request: Request | None,
        status: int,
        title: str,
        text: str,
        then: str = "",
        decision: int | None = None,
    ) -> Response:
        """The answer that says one thing, what to do, and which decision it is about."""
        facts = {"title": title, "text": text, "then": then, "decision": decision}
        return self.templates.answer("message.html", self.frame(request), facts, status)

    def show_refusal(self, request: Request, error: ClosedLoopError, status: int) -> Response:
        """The answer that shows an error of ours: what was wanted, what was found, what to do."""
        text = f"{error.where}: wanted {error.wanted}, got {error.got}."
        return self.show_message(request, status, "That is not possible now", text, error.then)

    def give_cookie(self, request: Request, answer: Response, value: str) -> None:
        """Set the cookie of a session; an empty value deletes it."""
        answer.set_cookie(
            self.cookie,
            value,
            max_age=int(LIFE_SECONDS) if value else 0,
            path="/",
            secure=self.secure or request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )


def go_to_login(request: Request) -> Response:
    """The way to the login, and back to where the request wanted to go."""
    there = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?next={quote(there if request.method == 'GET' else '/')}", 303)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form, of each the last; raises Refusal for what no form of ours sends."""
    try:
        body = (await request.body()).decode("ascii")
        return dict(
            parse_qsl(body, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
        )
    except ValueError:
        raise Refusal(400, "wanted the fields of a form of this page") from None
