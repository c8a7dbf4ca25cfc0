"""What `closedloop doctor` says about the running service: whether it answers with production."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from closedloop.decisions.checks import Kind
from closedloop.errors import ClosedLoopError
from closedloop.storage.details import ServingDetails
from closedloop.turn.open import Loop
from closedloop.use_case.several import prefix_of

_SECONDS, _MOST_BYTES = 3.0, 100_000


def describe_serving(loop: Loop) -> str:
    """Which version the API of this home answers with, if it runs.

    Raises ClosedLoopError when that is not the one in production. Another program at its address,
    or the API of another home, is told and not compared: the journal knows its own services.
    """
    address, live = loop.settings.api_address, loop.registry.production()
    # An API of several use cases has each behind a prefix; one that serves a single one has none.
    found = _ask(f"{address}{prefix_of(loop.use_case.name)}") or _ask(address)
    if found is None:
        return f"no API answers at {address}"
    if not _is_ours(loop):
        return f"what answers at {address} is no service of this journal: not compared"
    version, wanted = found.get("version"), found.get("wanted")
    if version == live:
        return f"the API at {address} answers with version {live}, as journal and registry say"
    raise ClosedLoopError(
        where=f"API at {address}",
        wanted=f"an answer by {_name(live)}, which is production",
        got=f"{_name(version)}; it wants {_name(wanted)}",
        then=str(found.get("reason") or "it follows within a second: run closedloop doctor again"),
    )


def _ask(address: str) -> dict[str, Any] | None:
    """What /ready says; None when nothing like it answers."""
    # Not through a proxy: the service is on this machine.
    opener = build_opener(ProxyHandler({}))
    try:
        try:
            answer = opener.open(f"{address}/ready", timeout=_SECONDS)
        except HTTPError as error:  # 503 has a body, too
            answer = error
        with answer:
            found = json.loads(answer.read(_MOST_BYTES))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "version" in found else None


def _is_ours(loop: Loop) -> bool:
    """Whether the newest service that noted in the journal that it answers there still runs."""
    place = f"{loop.settings.host}:{loop.settings.port}/"
    notes = loop.journal.history(loop.use_case.name, kinds=(Kind.SERVING,))
    services = [note.details.service for note in notes if isinstance(note.details, ServingDetails)]
    newest = next((name for name in reversed(services) if name and name.startswith(place)), place)
    return _runs(newest.removeprefix(place))


def _runs(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except PermissionError:  # somebody else's
        return True
    except (ValueError, OverflowError, OSError):
        return False
    return True


def _name(version: object) -> str:
    return f"version {version}" if isinstance(version, int) else "no version"
