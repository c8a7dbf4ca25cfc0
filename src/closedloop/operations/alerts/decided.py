"""Alerts about decisions in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from closedloop.decisions.checks import Action
from closedloop.operations.alerts.conditions import count_from
from closedloop.operations.alerts.safe_text import MOST_TITLE, one_line
from closedloop.storage.alert_book import Alert
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin

# By value: what a decision of another version of closedloop is called is no mistake here.
_EVENTS = {
    "escalate": "escalated",
    "wait": "waiting",
    "promote": "promoted",
    "reject": "rejected",
    "rollback": "rolled_back",
}
# Of decisions about an alias that was moved outside: what the loop did about it.
_OUTSIDE = "moved outside"
_DONE_ABOUT_IT = {
    "accept": "took it as live",
    "return": "moved it back",
    "escalate": "calls a person",
}
# These are told when they are carried out: a crash may come before that, or another decision.
_WHEN_DONE = ("promoted", "rejected", "rolled_back")
# A decision may wait for its turn, and a server may show an older row after a newer one.
_SETTLED_AFTER, _FORGOTTEN_AFTER = timedelta(hours=1), timedelta(days=30)


@dataclass(frozen=True)
class _Words:
    title: str
    what: str
    then: str


def alerts_of(
    entries: Sequence[Entry], moves: Sequence[Entry], page_url: str, now: datetime
) -> list[Alert]:
    """An alert, made now, for each decision that people are told of, oldest first.

    Of decisions that wait for their outcome, only those that call or ask a person. `moves` are all
    decisions on what is live: what a look has told of a moved alias is not told again.
    """
    answered = {entry.cause for entry in entries}
    told = list[tuple[Alert, Entry]]()
    for entry in entries:
        event = _event_of(entry)
        if event is None or entry.outcome == "superseded":
            continue
        if event in _WHEN_DONE and entry.outcome != "done":
            continue
        if event == "waiting" and (entry.outcome is not None or entry.id in answered):
            continue
        told.append((_alert(event, entry, page_url, now), entry))
    return [_as_looks_tell_it(alert, entry, moves) for alert, entry in told]


def _event_of(entry: Entry) -> str | None:
    action = entry.decision.action.value
    if entry.decision.kind.value == _OUTSIDE:
        return "moved_outside" if action in _DONE_ABOUT_IT else None
    return _EVENTS.get(action)


def _as_looks_tell_it(alert: Alert, entry: Entry, moves: Sequence[Entry]) -> Alert:
    """Under the key that a look uses where the decision only says the same."""
    if alert.event != "moved_outside" or entry.decision.action is not Action.ESCALATE:
        return alert
    since = count_from(moves, entry.id)
    return replace(alert, key=f"{alert.use_case}/moved_outside/{since}/{entry.decision.version}")


def settled_up_to(entries: Sequence[Entry], now: datetime) -> int:
    """The id up to which nothing new is to be told, 0 for none of these entries."""
    settled = 0
    for entry in entries:
        age = now - entry.at
        if age < _SETTLED_AFTER or (entry.outcome is None and age < _FORGOTTEN_AFTER):
            break
        settled = entry.id
    return settled


def _alert(event: str, entry: Entry, page_url: str, now: datetime) -> Alert:
    name, words = entry.use_case, _words(event, entry)
    return Alert(
        key=f"{name}/{event}/{entry.id}",
        use_case=name,
        event=event,
        title=one_line(f"{name}: {words.title}", MOST_TITLE),
        what=one_line(f"{words.what}{_by(entry)} Decided on {entry.at:%Y-%m-%d %H:%M} UTC."),
        why=one_line(_why(entry)),
        then=words.then,
        at=now,
        link=f"{page_url.rstrip('/')}/decisions/{entry.id}" if page_url else "",
        decision=entry.id,
    )


def _words(event: str, entry: Entry) -> _Words:
    window, number = entry.decision.window, entry.id
    version = f"version {entry.decision.version}"
    before = f" instead of version {entry.production}" if entry.production is not None else ""
    look = f"closedloop why {number} shows the evidence"
    done = _DONE_ABOUT_IT.get(entry.decision.action.value, "")
    return {
        "escalated": _Words(
            f"a person is called for {window}",
            f"Decision {number} calls a person for {window}. The loop changes nothing by itself.",
            f"Look at the reason: {look}.",
        ),
        "waiting": _Words(
            f"{version} waits for approval",
            f"Decision {number} waits for a person: {version} may go into production{before}.",
            f"Decide: closedloop approve {number} --reason TEXT, or closedloop reject {number} "
            f"--reason TEXT. {look}.",
        ),
        "promoted": _Words(
            f"{version} is in production",
            f"Decision {number} put {version} into production{before}, for {window}.",
            f"Nothing; {look}. closedloop rollback takes it back.",
        ),
        "rejected": _Words(
            f"{version} was rejected",
            f"Decision {number} rejected {version}, which was trained for {window}. "
            "Production stays.",
            f"Nothing; {look}.",
        ),
        "rolled_back": _Words(
            f"production went back to {version}",
            f"Decision {number} took production back to {version}{before}, on {window}.",
            f"Find out what was wrong: {look}.",
        ),
        "moved_outside": _Words(
            "production was moved outside of closedloop",
            f"Somebody moved production in MLflow. The loop {done} by decision {number}.",
            f"Find out who it was: {look}; closedloop status says how to go on.",
        ),
    }[event]


def _by(entry: Entry) -> str:
    who = getattr(entry.details, "by", None)
    asked = entry.origin is Origin.PERSON and entry.decision.action is not Action.ESCALATE
    return f" By {who}." if who else " By a person." if asked else ""


def _why(entry: Entry) -> str:
    """The decision's reason, and that of the person who made it where it does not hold that."""
    reason, persons = entry.decision.reason, getattr(entry.details, "why", None) or ""
    return reason if persons in reason else f"{reason}; {persons}"
