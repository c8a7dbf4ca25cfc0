"""A person moves `production`: what was asked for is written down, then carried out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from closedloop.decisions.checks import Action, Decision, Kind, request_check
from closedloop.errors import ClosedLoopError, RegistryError
from closedloop.records.as_windows import PREFIX
from closedloop.registry.versions import find_digest
from closedloop.storage.details import PromotionDetails, TurnDetails
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.agreement import refuse_disagreement
from closedloop.turn.carry_out import carry_out
from closedloop.turn.moved_aliases import (
    KINDS,
    MOVES,
    Live,
    describe_version,
    find_way_back,
    read_live,
)
from closedloop.turn.open import Loop
from closedloop.turn.who_and_why import check_words

_Asking = tuple[str | None, str | None]  # who asks, and why
NO_WINDOW = "-"  # of a decision before the first look at any window


def promote_by_hand(
    loop: Loop,
    version: int,
    *,
    by: str | None = None,
    reason: str | None = None,
    act: Callable[[Loop, Entry], Entry] = carry_out,
) -> Entry:
    """Move `production` to a version at a person's request; `act` carries the decision out.

    `by` and `reason` say who asks, and why.

    A version that is live behind the journal's back is written down as the person's choice. Raises
    RegistryError when there is no such version, when it is live by the journal too, when production
    has moved while this waited for a turn, or as `refuse_disagreement`.
    """
    asking = check_words(by, reason)
    refuse_disagreement(loop, promoting=version)
    asked_of = loop.registry.production()
    loop.registry.loadable(version)
    with loop.lock("promote"):
        refuse_disagreement(loop, promoting=version)
        live = loop.registry.production()
        if live != version:
            _refuse_if_moved(loop, asked_of, f"closedloop promote {version}")
            made = _write_by_hand(loop, Kind.PROMOTION, Action.PROMOTE, version, live, asking)
            return act(loop, made)
        entry = _pending(loop, Action.PROMOTE, version) or _adopt(loop, version, asking)
        if entry is None:
            raise RegistryError(
                where=f"model {loop.use_case.name}",
                wanted="a version that is not live",
                got=f"version {version}, which is production",
                then="nothing needs to be done",
            )
        return act(loop, entry)


def _adopt(loop: Loop, version: int, asking: _Asking) -> Entry | None:
    """The decision that makes a version production that somebody made live outside of closedloop.

    It replaces what was live by the journal. None when the journal knows it.
    """
    states = read_live(_moves(loop))
    if version in {state.production for state in states}:
        return None
    replaced = states[0].production
    return _write_by_hand(loop, Kind.PROMOTION, Action.PROMOTE, version, replaced, asking)


def roll_back_by_hand(
    loop: Loop,
    to: int | None = None,
    *,
    by: str | None = None,
    reason: str | None = None,
    asked_at: datetime | None = None,
) -> Entry:
    """Move `production` back to `previous`, or to the version `to`, at a person's request.

    Where to is settled before this waits for anything. Raises RegistryError when there is nowhere
    to go, when `previous` is not where decisions put it, when production has moved since: since the
    call, or since the person asked at `asked_at`; or as `refuse_disagreement`.
    """
    asking = check_words(by, reason)
    refuse_disagreement(loop)
    now = Live(loop.registry.production(), loop.registry.previous())
    live, moves = now.production, _moves(loop)
    target = find_way_back(moves, now) if to is None else loop.registry.loadable(to).version
    with loop.lock("rollback"):
        refuse_disagreement(loop)
        if live is None or target is None or target == live:
            if live is not None and (pending := _pending(loop, Action.ROLLBACK, live)) is not None:
                return carry_out(loop, pending)
            raise RegistryError(
                where=f"model {loop.use_case.name}",
                wanted="a version to go back to",
                got=_tell_nowhere(moves, now, target),
                then="list the versions with: closedloop status, then: closedloop rollback --to N",
            )
        _refuse_if_moved(loop, live, f"closedloop rollback --to {target}", asked_at)
        made = _write_by_hand(loop, Kind.ROLLBACK, Action.ROLLBACK, target, live, asking)
        return carry_out(loop, made)


def _tell_nowhere(moves: Sequence[Entry], now: Live, target: int | None) -> str:
    """Why there is nowhere to go back to."""
    if now.production is None:
        return "no production"
    if now.production in (target, now.previous):
        return f"version {now.production}, which is production"
    if now.previous is None:
        return "no previous version"
    return f"previous at {describe_version(moves, now.previous)}"


def _refuse_if_moved(
    loop: Loop, asked_of: int | None, command: str, asked_at: datetime | None = None
) -> None:
    """Raise RegistryError when production has moved since a person asked.

    The same words would now do something else: go back from another version, or replace it.
    """
    live, since = loop.registry.production(), None
    done = [entry for entry in _moves(loop) if entry.outcome == "done" and _is_move(entry)]
    if done and asked_at is not None and done[-1].at > asked_at:
        since = done[-1]
    if live == asked_of and since is None:
        return
    by = since or (done[-1] if done and done[-1].decision.version == live else None)
    before = asked_of if since is None else since.production
    raise RegistryError(
        where=f"model {loop.use_case.name}",
        wanted=f"{_name(before)} still in production, as when you asked",
        got=_name(live) + (f", by decision {by.id}" if by else ""),
        then=f"look at closedloop status; if you still want it: {command}",
    )


def _is_move(entry: Entry) -> bool:
    return entry.decision.action in MOVES


def _name(version: int | None) -> str:
    return "nothing" if version is None else f"version {version}"


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


def _write_by_hand(
    loop: Loop, kind: Kind, action: Action, version: int, live: int | None, asking: _Asking
) -> Entry:
    history = loop.journal.history(loop.use_case.name)
    # The same request before anything else was carried out is the same decision: a repeated command
    # finishes it.
    settled = max((entry.id for entry in history if entry.outcome is not None), default=0)
    window = find_newest_window(loop, history)
    asked = request_check(f"{action.value} {describe_version(history, version)}", *asking)
    bundle = find_digest(loop.registry.versions(), version)
    promotion = kind is Kind.PROMOTION
    return loop.journal.write(
        f"{loop.use_case.name}/by-hand/{action.value}/{version}/after-{settled}",
        loop.use_case.name,
        Decision(kind, action, window, (asked,), version),
        details=PromotionDetails(live, bundle=bundle, by=asking[0], why=asking[1])
        if promotion
        else TurnDetails(live, bundle=bundle, by=asking[0], why=asking[1]),
        origin=Origin.PERSON,
    )


def find_newest_window(loop: Loop, entries: Sequence[Entry]) -> str:
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
