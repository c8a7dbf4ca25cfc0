"""The drift report of a decision: a page that Evidently made, with scripts, shown in a sandbox.

It shows names and values of a table, and nobody has checked its scripts. The browser gives it no
origin: it cannot read the page around it, our cookies or our answers, and load or send nothing.
"""

from __future__ import annotations

from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from api.page.desk import Desk
from api.page.missing import NotThere
from closedloop.errors import ClosedLoopError
from closedloop.registry.runs import REPORT
from closedloop.turn.open import Loop

# It draws by scripts and styles of its own, of which none may be fetched. No allow-same-origin.
SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; font-src data:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'self'"
)


def report_routes(desk: Desk) -> list[Route]:
    """The page around a report, and the report itself."""

    async def show(request: Request) -> Response:
        if (elsewhere := desk.ask_to_log_in(request)) is not None:
            return elsewhere
        number = request.path_params["decision"]
        return await run_in_threadpool(desk.show, request, "report.html", {"decision": number})

    async def send(request: Request) -> Response:
        if (elsewhere := desk.ask_to_log_in(request)) is not None:
            return elsewhere
        number = request.path_params["decision"]
        content = await run_in_threadpool(read_report, desk.loop, number)
        headers = {"content-security-policy": SANDBOX, "x-frame-options": "SAMEORIGIN"}
        return HTMLResponse(content, headers=headers)

    return [
        Route("/decisions/{decision:int}/report", show, methods=["GET"]),
        Route("/decisions/{decision:int}/report/content", send, methods=["GET"]),
    ]


def read_report(loop: Loop, decision: int) -> str:
    """The HTML of the drift report behind a decision; raises NotThere when there is none."""
    entries = {entry.id: entry for entry in loop.journal.history(loop.use_case.name)}
    entry = entries.get(decision)
    cause = None if entry is None or entry.cause is None else entries.get(entry.cause)
    kept = [found.turn.run for found in (entry, cause) if found and found.turn.run]
    run = next((facts.run for facts in kept if facts.run and REPORT in (facts.report or "")), None)
    if run is None:
        raise NotThere(f"Decision {decision} has no drift report.")
    try:
        found = loop.registry.read_run_files(run, [REPORT])
    except ClosedLoopError as error:
        raise NotThere(f"The drift report of decision {decision} cannot be read: {error}") from None
    if REPORT not in found:
        raise NotThere(f"The drift report of decision {decision} was pruned; its numbers stay.")
    return found[REPORT]
