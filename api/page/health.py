"""How the installation is: doctor, alerts, records, keys, what is open, what could be deleted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.page.checkup import Checkup, Said
from api.page.desk import Desk
from closedloop.decisions.checks import Action
from closedloop.errors import ClosedLoopError
from closedloop.operations.alerts.overview import list_deliveries
from closedloop.turn.open import Loop

_ACTS = (Action.PROMOTE, Action.ROLLBACK, Action.RETRAIN)
_MOST_SHOWN = 20


@dataclass(frozen=True)
class Checkups:
    """The commands whose words are shown: `closedloop doctor` and `closedloop prune --dry-run`."""

    doctor: Checkup
    pruning: Checkup

    async def stop(self) -> None:
        """End what runs of them."""
        for checkup in (self.doctor, self.pruning):
            await checkup.stop()


def make_checkups(use_case: str) -> Checkups:
    """The real commands, for the use case at a path."""
    return Checkups(
        Checkup(["doctor", "--use-case", use_case, "--json"]),
        Checkup(["prune", "--use-case", use_case, "--dry-run", "--json"], fresh_seconds=600.0),
    )


def health_routes(desk: Desk, checkups: Checkups | None) -> list[Route]:
    """The route of the view."""

    async def show(request: Request) -> Response:
        if (elsewhere := desk.ask_to_log_in(request)) is not None:
            return elsewhere
        doctor = pruning = None
        if checkups is not None:
            doctor, pruning = checkups.doctor.look(), checkups.pruning.look()
        facts = await run_in_threadpool(gather_health, desk.loop)
        facts |= {
            "doctor": doctor,
            "pruning": pruning,
            "deleted": _tell_pruning(pruning),
            "checking": checkups is not None and (doctor is None or pruning is None),
            "keys": [
                (key.name, key.role.value, key.added)
                for key in desk.keys.known
                if key.allows(desk.loop.use_case.name)
            ],
            "keys_of_others": bool(desk.keys.known),
        }
        return await run_in_threadpool(desk.show, request, "health.html", facts)

    return [Route("/health", show, methods=["GET"])]


def gather_health(loop: Loop) -> dict[str, Any]:
    """Alerts, records, and decisions that were not carried out; what cannot be read says why."""
    try:
        counted = loop.records.count(loop.use_case.name)
        records = {"predictions": counted.predictions, "labels": counted.labels}
        entries = loop.journal.history(loop.use_case.name)
        alerts = list(reversed(list_deliveries(loop)))
    except ClosedLoopError as error:
        return {"fault": str(error), "records": {}, "open": [], "alerts": []}
    undone = [
        (entry.id, entry.decision.action.value, entry.decision.window, entry.at)
        for entry in entries
        if entry.outcome is None and entry.decision.action in _ACTS
    ]
    return {
        "fault": "",
        "records": records,
        "open": undone[-_MOST_SHOWN:],
        "alerts": alerts[:_MOST_SHOWN],
    }


def _tell_pruning(said: Said | None) -> list[tuple[str, str]]:
    """What pruning would delete, by kind, in words."""
    if said is None or not isinstance(said.content, dict):
        return []
    return [(name.replace("_", " "), _tell(found)) for name, found in said.content.items()]


def _tell(found: object) -> str:
    if isinstance(found, list):
        return ", ".join(map(str, found)) or "none"
    return str(found)
