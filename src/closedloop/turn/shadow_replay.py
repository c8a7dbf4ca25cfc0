"""What a candidate that was just packed answers to recorded requests, beside production."""

from __future__ import annotations

import logging
from pathlib import Path

from closedloop.bundle.files import read_facts
from closedloop.decisions.shadow import ShadowReplay
from closedloop.errors import ModelError, RegistryError
from closedloop.records.shadow import ShadowRecords
from closedloop.shadow.replay import Version, replay
from closedloop.turn.history import History
from closedloop.turn.open import Loop

_LOG = logging.getLogger("closedloop.turn.shadow")


def replay_recorded(history: History[Loop], folder: Path) -> ShadowReplay | None:
    """The newest recorded requests, answered by the bundle in `folder` and by production.

    None when the policy wants no replay, or a column is kept out of the records: without it both
    would answer otherwise than clients were answered. Raises StoreError when the records cannot be
    read.
    """
    use_case = history.loop.use_case
    most = use_case.policy.shadow.rows
    if not most or use_case.unrecorded:
        return None
    requests = ShadowRecords(history.loop.engine).read_newest(use_case.name, most)
    if not requests:
        return ShadowReplay(0, 0)
    candidate = Version(folder, read_facts(folder).threshold)
    found = replay(requests, candidate, _find_production(history), use_case)
    if found.candidate is not None and found.candidate.failure:
        _LOG.error("the candidate does not answer recorded requests: %s", found.candidate.failure)
    return found


def _find_production(history: History[Loop]) -> Version | None:
    """Production's files; None where it could not be compared with, either."""
    live = history.production
    if live is None or history.bundle is None:
        return None
    try:
        folder = history.loop.registry.download(live.version)
    except (ModelError, RegistryError) as error:
        _LOG.warning("production is not asked what was recorded: %s", error)
        return None
    return Version(folder, history.bundle.facts.threshold)
