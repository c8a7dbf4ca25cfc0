"""Orders of an operator: a page that asks once more, then a form that carries one out."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from api.page.desk import Desk, go_to_login, read_form
from api.page.missing import NotThere
from api.page.orders import ORDERS, Order, OrderKind, tell_result
from api.page.sessions import Session
from closedloop.errors import ClosedLoopError
from closedloop.storage.entry import Entry

# An order may wait for a turn that is under way; the browser does not wait as long.
PATIENCE_SECONDS = 25.0
_UNDER_WAY = (
    "This takes longer: another command is at work, and the order waits for it. It stands; you "
    "need not send it again. Reload this page to see what became of it."
)


def action_routes(desk: Desk) -> list[Route]:
    """The routes of all orders, and of what became of them."""
    actions = _Actions(desk)
    return [
        *(Route(kind.path, actions.asking(kind), methods=["GET"]) for kind in ORDERS),
        *(Route(kind.path, actions.sent(kind), methods=["POST"]) for kind in ORDERS),
        Route("/done/{form}", actions.show_result, methods=["GET"]),
    ]


class _Actions:
    """A form has an id; `session.results` keeps what became of it, for whoever sends it twice."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="order")

    def asking(self, kind: OrderKind) -> Callable[[Request], Any]:
        """The page that shows what an order would change."""

        async def ask(request: Request) -> Response:
            session = self._desk.find_session(request)
            if session is None:
                return go_to_login(request)
            if not session.may_act:
                return self._refuse_viewer(request, session)
            try:
                order = await run_in_threadpool(kind.find, self._desk.loop, _asked(request))
            except ClosedLoopError as error:
                return await run_in_threadpool(self._desk.show_refusal, request, error, 409)
            return await self._show(request, session, order)

        return ask

    def sent(self, kind: OrderKind) -> Callable[[Request], Any]:
        """What carries an order out, once for each form."""

        async def send(request: Request) -> Response:
            form, session = await read_form(request), self._desk.find_session(request)
            if session is None:
                return go_to_login(request)
            if not session.may_act:
                return self._refuse_viewer(request, session)
            identity = form.get("form", "")
            if not session.is_token(form.get("token", "")) or not 8 <= len(identity) <= 64:
                text = "That form was not of this login, or too old."
                return self._desk.show_message(
                    request, 403, "Nothing was done", text, "Go back, reload the page, try again."
                )
            if identity not in session.results:
                # A thread of its own: it goes on when the browser does not wait for it.
                work = self._threads.submit(self._carry_out, kind, _asked(request), form, session)
                session.remember(identity, work)
            work = session.results[identity]
            await asyncio.wait([asyncio.wrap_future(work)], timeout=PATIENCE_SECONDS)
            if work.done() and isinstance(again := work.result(), tuple):
                return await self._show(request, session, *again)
            return RedirectResponse(f"/done/{identity}", 303)

        return send

    async def show_result(self, request: Request) -> Response:
        """What became of a form of this session."""
        session = self._desk.find_session(request)
        if session is None:
            return go_to_login(request)
        work = session.results.get(request.path_params["form"])
        if work is None:
            raise NotThere("What became of that order is no longer here: look at the decisions.")
        if not work.done():
            return self._desk.show_message(request, 200, "Under way", _UNDER_WAY)
        result = work.result()
        if isinstance(result, ClosedLoopError):
            return self._desk.show_refusal(request, result, 409)
        if isinstance(result, tuple):
            raise NotThere("That form was sent back to you, and not carried out.")
        if isinstance(result, Entry):
            text = tell_result(result, session.name)
            return self._desk.show_message(request, 200, "Done", text, decision=result.id)
        raise NotThere(str(result))

    def _carry_out(
        self, kind: OrderKind, asked: dict[str, str], form: dict[str, str], session: Session
    ) -> object:
        """The decision that was made, what refused it, or the order to ask again."""
        reason = " ".join(form.get("reason", "").split())
        try:
            order = kind.find(self._desk.loop, asked)
            if not reason:
                return order, "Say why, in a sentence: the journal keeps it.", reason
            if form.get("seen") != order.seen:
                said = "Something else answers now than when you looked: see what this would do."
                return order, said, reason
            return order.carry_out(session.name, reason)
        except NotThere as missing:
            return str(missing)
        except ClosedLoopError as error:
            return error

    async def _show(
        self, request: Request, session: Session, order: Order, said: str = "", reason: str = ""
    ) -> Response:
        facts = {
            "order": order,
            "said": said,
            "reason": reason,
            "form": secrets.token_urlsafe(12),
            "token": session.token,
            "address": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        }
        status = 409 if said else 200
        return await run_in_threadpool(self._desk.show, request, "confirm.html", facts, status)

    def _refuse_viewer(self, request: Request, session: Session) -> Response:
        return self._desk.show_message(
            request,
            403,
            "You may only read",
            f"{session.name} is the key of a {session.role.value}, which only reads.",
            "Log in with the key of an operator: closedloop key add NAME --role operator",
        )


def _asked(request: Request) -> dict[str, str]:
    return {**request.query_params, **request.path_params}
