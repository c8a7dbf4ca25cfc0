"""Carries decisions out, so that doing it again is safe; and writes down what people ask for."""

from __future__ import annotations

from collections.abc import Sequence

from closedloop.decisions.checks import Action, Decision, Kind, request_check
from closedloop.errors import ClosedLoopError, RegistryError
from closedloop.records.as_windows import PREFIX
from closedloop.storage.details import PromotionDetails, TurnDetails
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.open import Loop
from closedloop.turn.ports import Parts

NO_WINDOW = "-"  # of a decision before the first look at any window


def carry_out(loop: Parts, entry: Entry) -> Entry:
    """Do what a decision says and note its outcome; returns the entry as it then stands.

    A decision with an outcome is left alone. A RETRAIN is carried out, and noted, by `retrain`.
    """
    decision, production = entry.decision, entry.production
    if entry.outcome is not None or decision.action is Action.RETRAIN:
        return entry
    if (later := _overtaken_by(loop, entry)) is not None:
        loop.journal.supersede(entry, by=later)
        return loop.journal.entry(entry.id)
    moved = True
    if decision.action is Action.PROMOTE and decision.version is not None:
        moved = loop.registry.promote(
            decision.version, instead_of=production, reason=decision.reason
        )
    elif (
        decision.action is Action.ROLLBACK
        and decision.version is not None
        and production is not None
    ):
        moved = loop.registry.roll_back(
            decision.version, instead_of=production, reason=decision.reason
        )
    elif decision.action is Action.REJECT and decision.version is not None:
        loop.registry.reject(decision.version, reason=decision.reason)
    if moved:
        loop.journal.carried_out(entry)
    else:
        live = loop.registry.production()
        loop.journal.supersede(entry, reason=f"production is meanwhile version {live}")
    return loop.journal.entry(entry.id)


def finish_retraining(loop: Parts, asked: Entry, learnt: Sequence[str]) -> None:
    """Note that a decision to retrain was carried out with the windows `learnt`.

    Older open ones are superseded, because this training includes their windows; those about a
    later window stay open.
    """
    later = set(loop.source.windows()).difference(learnt)
    for entry in loop.journal.history(asked.use_case):
        if (
            entry.id < asked.id
            and entry.outcome is None
            and entry.decision.action is Action.RETRAIN
            and entry.decision.window not in later
        ):
            loop.journal.supersede(entry, by=asked)
    loop.journal.carried_out(asked)  # last: until then the same command does all of this again


def _overtaken_by(loop: Parts, entry: Entry) -> Entry | None:
    """The first later decision that moved `production`: what this one was about is gone then.

    The live version alone cannot tell: after a promotion that a crash cut short and a person took
    back, production is where it began.
    """
    moves = (Action.PROMOTE, Action.ROLLBACK)
    if entry.decision.action not in moves:
        return None
    later = (
        other
        for other in loop.journal.history(entry.use_case)
        if other.id > entry.id and other.outcome == "done"
    )
    return next((other for other in later if other.decision.action in moves), None)


def promote_by_hand(loop: Loop, version: int) -> Entry:
    """Move `production` to a version at a person's request.

    Raises RegistryError when there is no such version or it is live.
    """
    with loop.lock():
        live = loop.registry.production()
        loop.registry.loadable(version)
        entry = (
            _pending(loop, Action.PROMOTE, version)
            if live == version
            else _write_by_hand(loop, Kind.PROMOTION, Action.PROMOTE, version, live)
        )
        if entry is None:
            raise RegistryError(
                where=f"model {loop.use_case.name}",
                wanted="a version that is not live",
                got=f"version {version}, which is production",
                then="nothing needs to be done",
            )
        return carry_out(loop, entry)


def roll_back_by_hand(loop: Loop, to: int | None) -> Entry:
    """Move `production` back to `previous`, or to the version `to`, at a person's request.

    Raises RegistryError when there is none.
    """
    with loop.lock():
        live = loop.registry.production()
        target = loop.registry.previous() if to is None else loop.registry.loadable(to).version
        if live is None or target is None or target == live:
            if live is not None and (pending := _pending(loop, Action.ROLLBACK, live)) is not None:
                return carry_out(loop, pending)
            got = (
                "no production"
                if live is None
                else "no previous version"
                if target is None
                else f"version {live}, which is production"
            )
            raise RegistryError(
                where=f"model {loop.use_case.name}",
                wanted="a version to go back to",
                got=got,
                then="list the versions with: closedloop status, then: closedloop rollback --to N",
            )
        return carry_out(loop, _write_by_hand(loop, Kind.ROLLBACK, Action.ROLLBACK, target, live))


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
    asked = request_check(f"{action.value} version {version}")
    promotion = kind is Kind.PROMOTION
    return loop.journal.write(
        f"{loop.use_case.name}/by-hand/{action.value}/{version}/after-{settled}",
        loop.use_case.name,
        Decision(kind, action, window, (asked,), version),
        details=PromotionDetails(live) if promotion else TurnDetails(live),
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
