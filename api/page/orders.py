"""What an operator may ask for: each order says first what it will change, then is carried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from api.page.frame import show_time
from api.page.missing import NotThere
from closedloop.decisions.checks import Action
from closedloop.errors import RegistryError
from closedloop.storage.entry import Entry
from closedloop.turn import approval
from closedloop.turn.move_by_hand import promote_by_hand, roll_back_by_hand
from closedloop.turn.moved_aliases import KINDS, last_settled
from closedloop.turn.open import Loop
from closedloop.turn.probation_end import end_probation
from closedloop.turn.probation_standing import read_probation

Fact = tuple[str, str]
_NOTHING = "nothing answers yet"


@dataclass(frozen=True)
class Order:
    """One thing that can be done now.

    `facts` say what it changes, line by line. `seen` is the state that they were read from: an
    order that is sent is carried out only while that is the state. `carry_out` takes who asks and
    why. `warning` says why it may be refused.
    """

    title: str
    button: str
    facts: tuple[Fact, ...]
    seen: str
    carry_out: Callable[[str, str], Entry]
    warning: str = ""
    dangerous: bool = False


@dataclass(frozen=True)
class OrderKind:
    """An address where an order is confirmed and sent; `find` reads what it would change."""

    path: str
    find: Callable[[Loop, Mapping[str, str]], Order]


def find_approval(loop: Loop, asked: Mapping[str, str]) -> Order:
    """A candidate that waits becomes production."""
    wait = _find_wait(loop, asked)
    version, obstacle = wait.decision.version, approval.tell_obstacle(loop, wait)
    warning = f"It can only be rejected now: {obstacle}." if obstacle else ""
    return Order(
        f"Approve version {version}",
        f"Approve: let version {version} answer",
        (
            ("Will answer", f"version {version}, trained for {wait.decision.window}"),
            *_replaces(loop),
            ("Because", wait.decision.reason),
            ("Waits since", f"{show_time(wait.at)} (decision {wait.id})"),
        ),
        _seen(loop),
        lambda by, reason: approval.approve(loop, wait.id, by=by, reason=reason),
        warning,
    )


def find_rejection(loop: Loop, asked: Mapping[str, str]) -> Order:
    """A candidate that waits is not promoted."""
    wait = _find_wait(loop, asked)
    version = wait.decision.version
    return Order(
        f"Reject version {version}",
        f"Reject version {version}",
        (
            ("Will answer", f"{_name(loop.registry.production())}, as before"),
            ("Will not be promoted", f"version {version}, trained for {wait.decision.window}"),
            ("It would have been, because", wait.decision.reason),
            ("Waits since", f"{show_time(wait.at)} (decision {wait.id})"),
        ),
        _seen(loop),
        lambda by, reason: approval.reject(loop, wait.id, by=by, reason=reason),
        dangerous=True,
    )


def find_promotion(loop: Loop, asked: Mapping[str, str]) -> Order:
    """Any version that can be loaded becomes production, without a comparison."""
    version = _read_number(asked, "version")
    facts = loop.registry.loadable(version)
    if version == loop.registry.production():
        raise RegistryError(
            where=f"model {loop.use_case.name}",
            wanted="a version that is not live",
            got=f"version {version}, which is production",
            then="nothing needs to be done",
        )
    auc = "unknown" if facts.val_auc is None else f"{facts.val_auc:.4f}"
    return Order(
        f"Promote version {version}",
        f"Promote: let version {version} answer",
        (
            ("Will answer", f"version {version} ({facts.recipe}, trained for {facts.window})"),
            *_replaces(loop),
            ("Its val_auc, on its own rows", auc),
            ("Its status so far", facts.status),
        ),
        _seen(loop),
        lambda by, reason: promote_by_hand(loop, version, by=by, reason=reason),
        "Nothing is compared: this version answers because you say so.",
    )


def find_rollback(loop: Loop, asked: Mapping[str, str]) -> Order:
    """Production goes back to the version before it, or to the one that is asked for."""
    to = _read_number(asked, "to") if asked.get("to") else loop.registry.previous()
    live = loop.registry.production()
    if to is None or live is None or to == live:
        raise RegistryError(
            where=f"model {loop.use_case.name}",
            wanted="a version to go back to",
            got="no previous version" if to is None else _name(live),
            then="choose a version on the page of versions",
        )
    facts = loop.registry.loadable(to)
    return Order(
        f"Roll back to version {to}",
        f"Roll back: let version {to} answer",
        (
            ("Will answer", f"version {to} ({facts.recipe}, trained for {facts.window})"),
            *_replaces(loop),
            ("Afterwards", f"version {live} is archived; it can be promoted again by hand"),
        ),
        f"{_seen(loop)}, back to {to}",
        lambda by, reason: roll_back_by_hand(loop, to, by=by, reason=reason),
        dangerous=True,
    )


def find_end_of_probation(loop: Loop, _asked: Mapping[str, str]) -> Order:
    """Production stays, and is no longer taken back by itself."""
    found = read_probation(loop)
    if found is None or not found.watched:
        raise RegistryError(
            where=f"probation of {loop.use_case.name}",
            wanted="a version on probation",
            got="none that could be taken back by itself",
            then="nothing needs to be done",
        )
    left = f"{found.passed} of {found.windows} windows have passed"
    return Order(
        f"End the probation of version {found.version}",
        f"End the probation: keep version {found.version}",
        (
            ("Will answer", f"version {found.version}, as before"),
            ("Changes", f"it no longer goes back to version {found.previous} by itself"),
            ("It is watched", f"since decision {found.promotion.id}; {left}"),
            ("Looked at", f"{len(found.looks)} times, and kept"),
        ),
        f"{_seen(loop)}, on probation",
        lambda by, reason: end_probation(loop, by=by, reason=reason),
    )


ORDERS: tuple[OrderKind, ...] = (
    OrderKind("/decisions/{decision}/approve", find_approval),
    OrderKind("/decisions/{decision}/reject", find_rejection),
    OrderKind("/versions/{version}/promote", find_promotion),
    OrderKind("/rollback", find_rollback),
    OrderKind("/probation/end", find_end_of_probation),
)


def tell_result(entry: Entry, by: str) -> str:
    """What became of an order, and who had given it when it was not this person."""
    version, done = entry.decision.version, entry.outcome == "done"
    what = {
        Action.PROMOTE: f"Version {version} is in production",
        Action.ROLLBACK: f"Version {version} is in production again",
        Action.REJECT: f"Version {version} was rejected",
        Action.KEEP: f"Version {version} stays, and is no longer on probation",
    }.get(entry.decision.action, f"Decision {entry.id} is written down")
    if not done:
        what = f"Decision {entry.id} was not carried out: {entry.note}"
    other = f" {entry.by} had said so before, at {show_time(entry.at)}." if entry.by != by else ""
    return f"{what} (decision {entry.id}).{other}"


def _find_wait(loop: Loop, asked: Mapping[str, str]) -> Entry:
    number = _read_number(asked, "decision")
    waiting = {entry.id: entry for entry in approval.waiting(loop)}
    if number in waiting:
        return waiting[number]
    entries = loop.journal.history(loop.use_case.name)
    asked_for = {entry.id for entry in entries if entry.decision.action is Action.WAIT}
    answers = [entry for entry in entries if number in asked_for and entry.cause == number]
    if answers:
        raise RegistryError(
            where=f"decision {number}",
            wanted="a decision that waits for a person",
            got=f"one that was {approval.tell_answer(answers[-1])}",
            then="nothing needs to be done; the decisions are on the page of decisions",
        )
    raise NotThere(f"Decision {number} does not wait for a person.")


def _replaces(loop: Loop) -> tuple[Fact, ...]:
    """Which version this takes the place of, and since when and why that one answers."""
    live = loop.registry.production()
    if live is None:
        return (("Replaces", _NOTHING),)
    return (("Replaces", f"version {live}"), ("That one answers since", _tell_since(loop, live)))


def _tell_since(loop: Loop, live: int) -> str:
    moves: Sequence[Entry] = loop.journal.history(loop.use_case.name, kinds=KINDS)
    move = last_settled(moves)
    if move is None or move.decision.version != live:
        return "unknown: it was moved outside of closedloop"
    who = f", by {move.by}" if move.by else ""
    return f"{show_time(move.at)}, decision {move.id}{who}: {move.why or move.decision.reason}"


def _seen(loop: Loop) -> str:
    return str(loop.registry.production() or "none")


def _name(version: int | None) -> str:
    return _NOTHING if version is None else f"version {version}"


def _read_number(asked: Mapping[str, str], name: str) -> int:
    text = asked.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NotThere(f"There is no {name} {text[:40]!r}.")
    return int(text)
