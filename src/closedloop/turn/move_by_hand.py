"""A person moves `production`: what was asked for is written down, then carried out."""

from __future__ import annotations

from collections.abc import Sequence

from closedloop.decisions.checks import Action, Decision, Kind, request_check
from closedloop.errors import ClosedLoopError, RegistryError
from closedloop.records.as_windows import PREFIX
from closedloop.registry.versions import find_digest
from closedloop.storage.details import PromotionDetails, TurnDetails
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.agreement import refuse_disagreement
from closedloop.turn.carry_out import carry_out
from closedloop.turn.moved_aliases import KINDS, Live, describe_version, find_way_back, read_live
from closedloop.turn.open import Loop

NO_WINDOW = "-"  # of a decision before the first look at any window


def promote_by_hand(loop: Loop, version: int) -> Entry:
    """Move `production` to a version at a person's request.

    A version that is live behind the journal's back is written down as the person's choice. Raises
    RegistryError when there is no such version, it is live by the journal too, or the registry is
    not the one that the journal speaks of.
    """
    with loop.lock():
        refuse_disagreement(loop, promoting=version)
        live = loop.registry.production()
        loop.registry.loadable(version)
        entry: Entry | None = None
        if live != version:
            entry = _write_by_hand(loop, Kind.PROMOTION, Action.PROMOTE, version, live)
        else:
            entry = _pending(loop, Action.PROMOTE, version) or _adopt(loop, version)
        if entry is None:
            raise RegistryError(
                where=f"model {loop.use_case.name}",
                wanted="a version that is not live",
                got=f"version {version}, which is production",
                then="nothing needs to be done",
            )
        return carry_out(loop, entry)


def _adopt(loop: Loop, version: int) -> Entry | None:
    """The decision that makes a version production that somebody made live outside of closedloop.

    It replaces what was live by the journal. None when the journal knows it.
    """
    states = read_live(_moves(loop))
    if version in {state.production for state in states}:
        return None
    replaced = states[0].production
    return _write_by_hand(loop, Kind.PROMOTION, Action.PROMOTE, version, replaced)


def roll_back_by_hand(loop: Loop, to: int | None) -> Entry:
    """Move `production` back to `previous`, or to the version `to`, at a person's request.

    Raises RegistryError when there is none, `previous` is not where decisions put it, or the
    registry is not the one that the journal speaks of.
    """
    with loop.lock():
        refuse_disagreement(loop)
        now = Live(loop.registry.production(), loop.registry.previous())
        live, moves = now.production, _moves(loop)
        target = find_way_back(moves, now) if to is None else loop.registry.loadable(to).version
        if live is None or target is None or target == live:
            if live is not None and (pending := _pending(loop, Action.ROLLBACK, live)) is not None:
                return carry_out(loop, pending)
            got = (
                "no production"
                if live is None
                else f"version {live}, which is production"
                if target == live or (to is None and now.previous == live)
                else "no previous version"
                if now.previous is None
                else f"previous at {describe_version(moves, now.previous)}"
            )
            raise RegistryError(
                where=f"model {loop.use_case.name}",
                wanted="a version to go back to",
                got=got,
                then="list the versions with: closedloop status, then: closedloop rollback --to N",
            )
        return carry_out(loop, _write_by_hand(loop, Kind.ROLLBACK, Action.ROLLBACK, target, live))


def _moves(loop: Loop) -> tuple[Entry, ...]:
    return loop.journal.history(loop.use_case.name, kinds=KINDS)


def _pending(loop: Loop, action: Action, version: int) -> Entry | None:
    """The newest move of `production` that a person asked for, if it is this one and a crash left
    it half carried out."""
    newest = next(
        (
            entry
            for entry in reversed(loop.journal.history(loop.use_case.name))
            if entry.origin is Origin.PERSON
            and entry.decision.kind in (Kind.PROMOTION, Kind.ROLLBACK)
        ),
        None,
    )
    asked = (
        newest is not None
        and newest.outcome is None
        and (newest.decision.action, newest.decision.version) == (action, version)
    )
    return newest if asked else None


def _write_by_hand(loop: Loop, kind: Kind, action: Action, version: int, live: int | None) -> Entry:
    history = loop.journal.history(loop.use_case.name)
    # The same request before anything else was carried out is the same decision: a repeated command
    # finishes it.
    settled = max((entry.id for entry in history if entry.outcome is not None), default=0)
    window = _newest_window(loop, history)
    asked = request_check(f"{action.value} {describe_version(history, version)}")
    bundle = find_digest(loop.registry.versions(), version)
    promotion = kind is Kind.PROMOTION
    return loop.journal.write(
        f"{loop.use_case.name}/by-hand/{action.value}/{version}/after-{settled}",
        loop.use_case.name,
        Decision(kind, action, window, (asked,), version),
        details=PromotionDetails(live, bundle=bundle)
        if promotion
        else TurnDetails(live, bundle=bundle),
        origin=Origin.PERSON,
    )


def _newest_window(loop: Loop, entries: Sequence[Entry]) -> str:
    """The newest window that a turn or a training looked at, which is where probation begins.

    Not that of the last entry: a service notes there which window its version was trained for, and
    a turn may look at an old window. Before the first look it is the newest of the source; "-" when
    there is none.
    """
    try:
        names = loop.source.windows()
    except ClosedLoopError:
        names = ()  # a person can go back while the source is away
    looked_at = [entry.decision.window for entry in entries if entry.decision.kind != Kind.SERVING]
    if not (looked_at := [window for window in looked_at if window != NO_WINDOW]):
        return names[-1] if names else NO_WINDOW
    places = {name: place for place, name in enumerate(names)}

    def age(window: str) -> tuple[bool, int, str]:
        # As in a chain of sources, records follow all other windows.
        of_records = window.startswith(PREFIX)
        return of_records, places.get(window, -1), window if of_records else ""

    return max(reversed(looked_at), key=age)
