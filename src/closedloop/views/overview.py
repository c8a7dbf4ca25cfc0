"""The first thing that people see: what is live, how it does, what comes next, what waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from closedloop.errors import ClosedLoopError, RegistryError
from closedloop.records.traffic import Day, LabelDelay
from closedloop.registry.versions import PRODUCTION, VersionFacts
from closedloop.storage.entry import Entry
from closedloop.turn.approval import read_waits
from closedloop.turn.live_at import name_decider
from closedloop.turn.moved_aliases import MOVES
from closedloop.turn.open import Loop
from closedloop.turn.waiting_decisions import read_waiting
from closedloop.turn.without_labels import tell_estimates
from closedloop.views.next_turn import NextTurn, find_next_turn
from closedloop.views.performance import (
    DriftPoint,
    RealisedPoint,
    read_drift,
    read_realised,
    val_auc_interval,
)
from closedloop.views.waiting import Waiting, find_waiting_for_a_person

DAYS = 14


@dataclass(frozen=True)
class LiveVersion:
    """The version that is in production.

    `since` is when, `decision` which decision made it so, and `by` who did; None where the journal
    knows of none. `interval` is that of val_auc, `before` the version that it replaced.
    """

    facts: VersionFacts
    interval: tuple[float, float] | None
    since: datetime | None
    decision: int | None
    by: str | None
    before: int | None


@dataclass(frozen=True)
class Traffic:
    """What the service answered by day, and how long labels took; `problem` if it is not known."""

    days: tuple[Day, ...] = ()
    delay: LabelDelay | None = None
    problem: str = ""


@dataclass(frozen=True)
class Overview:
    """All facts of the first view; `problem` says why the registry could not be asked."""

    live: LiveVersion | None
    waiting: tuple[Waiting, ...]
    next_turn: NextTurn
    realised: tuple[RealisedPoint, ...]
    drift: tuple[DriftPoint, ...]
    estimates: tuple[str, ...]
    traffic: Traffic
    newest: tuple[Entry, ...]
    problem: str = ""


def gather_overview(loop: Loop, now: datetime) -> Overview:
    """The facts of the first view; an MLflow or records that are away are told, not raised."""
    entries = loop.journal.history(loop.use_case.name)
    versions, problem = list_versions(loop)
    return Overview(
        find_live(entries, versions or (), loop.use_case.policy.promotion.confidence),
        find_waiting_for_a_person(
            entries,
            versions,
            _tell_answers(loop, entries),
            loop.journal.read_chain(loop.use_case.name).faults,
        ),
        find_next_turn(loop, entries, versions or (), now),
        read_realised(entries),
        read_drift(entries),
        _newest_estimates(entries, versions or ()),
        _read_traffic(loop, now),
        tuple(reversed(entries[-5:])),
        problem,
    )


def _tell_answers(loop: Loop, entries: Sequence[Entry]) -> dict[int, str]:
    """How each decision that waits can be answered; asked of the loop only where one does."""
    if not read_waiting(entries):
        return {}
    return {wait["decision"]: _tell_answer(wait) for wait in read_waits(loop)}


def _tell_answer(wait: Mapping[str, Any]) -> str:
    if wait["obstacle"]:
        return f"It can only be rejected now: {wait['obstacle']}"
    left = wait["windows_left"]
    told = "Open it to see its evidence and to answer."
    return told if left is None else f"{told} It expires after {left} newer windows."


def list_versions(loop: Loop) -> tuple[tuple[VersionFacts, ...] | None, str]:
    """Every version, and why they could not be listed if so."""
    try:
        return loop.registry.versions(), ""
    except RegistryError as error:
        return None, str(error)


def find_live(
    entries: Sequence[Entry], versions: Sequence[VersionFacts], confidence: float
) -> LiveVersion | None:
    """The version in production and how it came there; None without one."""
    facts = next((facts for facts in versions if PRODUCTION in facts.aliases), None)
    if facts is None:
        return None
    moves = [
        entry
        for entry in entries
        if entry.decision.action in MOVES
        and entry.outcome == "done"
        and entry.decision.version == facts.version
    ]
    interval = val_auc_interval(facts, confidence)
    if not moves:
        return LiveVersion(facts, interval, None, None, None, None)
    move = moves[-1]
    return LiveVersion(facts, interval, move.at, move.id, name_decider(move), move.production)


def _newest_estimates(
    entries: Sequence[Entry], versions: Sequence[VersionFacts]
) -> tuple[str, ...]:
    """AUC without labels of the newest window, while the version that it is about is live."""
    live = next((facts.version for facts in versions if PRODUCTION in facts.aliases), None)
    newest = next((entry for entry in reversed(entries) if entry.turn.estimate), None)
    if newest is None or newest.production != live:
        return ()
    return tuple(f"{newest.decision.window}: {told}" for told in tell_estimates(newest.turn))


def _read_traffic(loop: Loop, now: datetime) -> Traffic:
    name = loop.use_case.name
    try:
        days = loop.records.count_days(name, now - timedelta(days=DAYS))
        return Traffic(days, loop.records.label_delay(name))
    except ClosedLoopError as error:
        return Traffic(problem=str(error))
