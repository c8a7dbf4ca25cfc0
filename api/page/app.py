"""`create_page`: the page, put together from the parts it is given."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any
from uuid import uuid4

from fastapi.concurrency import run_in_threadpool
from prometheus_client import CollectorRegistry, Counter
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from api.guard.connections import Connections
from api.guard.keys import Keys
from api.guard.limits import RequestLimits
from api.page.actions import action_routes
from api.page.desk import Desk
from api.page.door import Door, own_hosts
from api.page.health import Checkups, health_routes
from api.page.login import login_routes
from api.page.missing import NotThere
from api.page.report import report_routes
from api.page.sessions import Sessions
from api.page.views import VIEWS, View
from api.refusal import Refusal
from closedloop.errors import ClosedLoopError
from closedloop.turn.open import Loop

_LOG = logging.getLogger("closedloop.page")
# Forms are small; an action may wait for a turn that is under way.
LIMITS = RequestLimits(
    max_body_bytes=65_536, max_waiting_requests=64, request_seconds=120.0, max_connections=200
)
_MAY_BE_KEPT = "public, max-age=3600"


def create_page(
    loop: Loop,
    keys: Keys,
    *,
    host: str,
    port: int,
    further_hosts: Iterable[str] = (),
    secure: bool = False,
    link: str | None = None,
    owner: str = "",
    limits: RequestLimits = LIMITS,
    checkups: Checkups | None = None,
) -> ASGIApp:
    """The page of a loop, for a server that listens on `host` and `port`.

    `link` is the secret that lets in the person who started it, an operator named `owner`. Without
    any key, everybody who can reach it may read. `secure` as in Desk. `checkups` run what health
    shows of commands; without, it shows nothing of them.
    """
    links = (*((view.path, view.name) for view in VIEWS if view.name), ("/health", "Health"))
    sessions = Sessions(keys, link=link, owner=owner, use_case=loop.use_case.name)
    desk = Desk(loop, keys, sessions, links, port, secure)
    app = Starlette(
        routes=[
            Route("/alive", _say_alive, methods=["GET"]),
            Route("/page.css", _file("page.css", "text/css"), methods=["GET"]),
            Route("/charts.css", _file("charts.css", "text/css"), methods=["GET"]),
            Route("/icon.svg", _file("icon.svg", "image/svg+xml"), methods=["GET"]),
            *login_routes(desk),
            *report_routes(desk),
            *health_routes(desk, checkups),
            *action_routes(desk),
            *(Route(view.path, _show_view(desk, view), methods=["GET"]) for view in VIEWS),
        ],
        exception_handlers={
            HTTPException: _answer_http_fault(desk),
            Refusal: _answer_refusal(desk),
            NotThere: _answer_missing(desk),
            ClosedLoopError: _answer_error(desk),
            Exception: _answer_fault(desk),
        },
        lifespan=_lifespan(limits, checkups),
    )

    def show_error(status: int, text: str, then: str) -> str:
        answer = desk.show_message(None, status, "That did not work", text, then)
        return bytes(answer.body).decode()

    return Door(app, limits, own_hosts(host, further_hosts), show_error)


def _lifespan(limits: RequestLimits, checkups: Checkups | None) -> Callable[[Any], Any]:
    """The connections, for the server's protocol, which are looked at once a second."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, Any]]:
        closed = Counter(
            "closedloop_page_connections_closed",
            "Connections that were closed before their client wanted that",
            ["reason"],
            registry=CollectorRegistry(),
        )
        connections = Connections(limits, closed)

        async def close_overdue() -> None:
            while True:
                connections.close_overdue()
                await asyncio.sleep(1.0)

        closing = asyncio.create_task(close_overdue())
        try:
            yield {"connections": connections}
        finally:
            closing.cancel()
            if checkups is not None:
                await checkups.stop()

    return lifespan


async def _say_alive(_request: Request) -> Response:
    return PlainTextResponse("alive")


def _file(name: str, kind: str) -> Callable[[Request], Any]:
    content = files("api.page").joinpath("static", name).read_bytes()

    async def answer(_request: Request) -> Response:
        return Response(content, media_type=kind, headers={"cache-control": _MAY_BE_KEPT})

    return answer


def _show_view(desk: Desk, view: View) -> Callable[[Request], Any]:
    async def show(request: Request) -> Response:
        if (elsewhere := desk.ask_to_log_in(request)) is not None:
            return elsewhere
        asked = {**request.query_params, **request.path_params}
        facts = await run_in_threadpool(view.gather, desk.loop, asked)
        return await run_in_threadpool(desk.show, request, view.template, facts)

    return show


def _answer_http_fault(desk: Desk) -> Callable[[Request, Any], Any]:
    async def answer(request: Request, fault: HTTPException) -> Response:
        title = "There is no such page" if fault.status_code == 404 else "That did not work"
        return desk.show_message(request, fault.status_code, title, fault.detail)

    return answer


def _answer_refusal(desk: Desk) -> Callable[[Request, Any], Any]:
    async def answer(request: Request, refusal: Refusal) -> Response:
        text = str(refusal.detail)
        return desk.show_message(request, refusal.status, "That did not work", text)

    return answer


def _answer_missing(desk: Desk) -> Callable[[Request, Any], Any]:
    async def answer(request: Request, missing: NotThere) -> Response:
        return desk.show_message(request, 404, "That is not there", str(missing))

    return answer


def _answer_fault(desk: Desk) -> Callable[[Request, Any], Any]:
    async def answer(request: Request, fault: Exception) -> Response:
        found = uuid4().hex
        _LOG.error("error %s", found, exc_info=fault)
        then = f"Look for error {found} in its log."
        return desk.show_message(request, 503, "The page failed", "It was not your fault.", then)

    return answer


def _answer_error(desk: Desk) -> Callable[[Request, Any], Any]:
    async def answer(request: Request, error: ClosedLoopError) -> Response:
        return await run_in_threadpool(desk.show_refusal, request, error, 503)

    return answer
