"""Answers to decisions that wait for a person: how they are written, carried out and cut off.

A candidate that waits gets one answer, whose key names the decision that waits: whoever writes it
first wins. A person gives it (`approval`), or the loop when nobody may approve any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from closedloop.decisions.approval import windows_left
from closedloop.decisions.checks import (
    Action,
    Check,
    Decision,
    Kind,
    Role,
    make_check,
    request_check,
)
from closedloop.registry.versions import find_digest
from closedloop.storage.details import PromotionDetails, RowsFacts
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.carry_out import carry_out
from closedloop.turn.history import History
from closedloop.turn.kept_out import read_standings
from closedloop.turn.moved_aliases import MOVES, last_settled
from closedloop.turn.ports import P, Parts
from closedloop.turn.waiting_decisions import answer_key, is_open

CANDIDATE_WAITS = "the candidate may wait for a person"
L = TypeVar("L", bound=Parts)


def find_obstacle(history: History[Parts], wait: Entry, entries: Sequence[Entry]) -> str:
    """Why the candidate of a decision that waits may not be promoted any more; empty if it may.

    `entries` is the whole journal of the use case as it is now. The rows that the candidate learnt
    from are not read again here: see `find_changed_rows`.
    """
    version, live = wait.decision.version, history.loop.registry.production()
    later = [entry for entry in entries if entry.id > wait.id]
    moved = [entry for entry in later if entry.decision.action in MOVES and entry.outcome == "done"]
    if moved:
        return f"decision {moved[0].id} ({moved[0].decision.action.value}) moved production since"
    if live != wait.production:
        return f"production is meanwhile {_name(live)}, and it was compared with " + _name(
            wait.production
        )
    newer = [entry for entry in later if entry.decision.action is Action.WAIT]
    if newer:
        return f"decision {newer[-1].id} proposed version {newer[-1].decision.version} since"
    if find_digest(history.loop.registry.versions(), version) not in (None, wait.bundle):
        return f"version {version} no longer has the files that were judged"
    if because := _find_expiry(history, wait):
        return because
    standings = read_standings(entries)
    for name, *_ in _rows_then(wait):
        if name in standings and standings[name].out and standings[name].entry.id > wait.id:
            return f"{name} was taken out of training by decision {standings[name].entry.id}"
    return ""


def find_expiry(history: History[Parts], wait: Entry) -> tuple[int, int]:
    """How many newer windows have come since a decision, and how many may still come."""
    place = history.place(wait.decision.window)
    waited = 0 if place is None else history.index - place
    return waited, windows_left(waited, history.loop.use_case.policy)


def _find_expiry(history: History[Parts], wait: Entry) -> str:
    waited, left = find_expiry(history, wait)
    if left >= 0:
        return ""
    allowed = history.loop.use_case.policy.promotion.approval_windows
    return (
        f"it has expired: {history.window} is window {waited} after {wait.decision.window}, and a "
        f"candidate waits for {allowed}"
    )


def find_changed_rows(history: History[Parts], wait: Entry) -> str:
    """Which window the candidate learnt from has other rows now; empty if none.

    Labels that came later are no change.
    """
    for name, digest, rows, labelled in _rows_then(wait):
        if name not in history.names:
            return f"the window {name}, which the candidate learnt from, is gone"
        now = history.read(name).facts
        labels_came = now.rows == rows and now.labelled_rows > labelled
        if now.digest != digest and not labels_came:
            return (
                f"the rows of {name}, which the candidate learnt from, have changed "
                f"(sha256 {digest[:12]}, now {now.digest[:12]})"
            )
    return ""


def _rows_then(wait: Entry) -> tuple[tuple[str, str, int, int], ...]:
    facts = wait.details.rows if isinstance(wait.details, PromotionDetails) else None
    return () if facts is None else facts.windows_then


def describe_rows(history: History[Parts], left_out: Iterable[str], judged: str) -> RowsFacts:
    """The windows that a candidate learnt from, and the one that `judged` it, as they are now."""
    learnt = [name for name in history.due if name not in set(left_out)]
    names = dict.fromkeys([*learnt, *([judged] if judged in history.names else [])])
    facts = [history.read(name).facts for name in names]
    return RowsFacts(
        tuple((found.name, found.digest, found.rows, found.labelled_rows) for found in facts)
    )


def write_answer(
    loop: Parts,
    wait: Entry,
    action: Action,
    *,
    window: str,
    why: str,
    by: str | None = None,
) -> Entry:
    """Write the answer to a decision down, or find the one that was there first.

    PROMOTE or REJECT `by` a person; by the loop when nobody is named. A promotion counts from
    `window` on.
    """
    version, details = wait.decision.version, wait.details
    word = "approve" if action is Action.PROMOTE else "reject"
    check = (
        _cut_off_check(why)
        if by is None
        else request_check(f"{word} version {version} of decision {wait.id}", by, why)
    )
    return loop.journal.write(
        answer_key(wait),
        wait.use_case,
        Decision(Kind.PROMOTION, action, window, (check,), version),
        details=PromotionDetails(
            loop.registry.production(),
            details.comparison if isinstance(details, PromotionDetails) else None,
            wait.bundle,
            by=by,
            why=why,
        ),
        origin=Origin.LOOP if by is None else Origin.PERSON,
        cause=wait.id,
    )


def _cut_off_check(why: str) -> Check:
    return make_check(CANDIDATE_WAITS, False, Role.GATE, "as it was judged", why, summary=why)


def finish_answer(loop: L, wait: Entry, answer: Entry, act: Callable[[L, Entry], Entry]) -> Entry:
    """Carry an answer out, and note on the decision that waited what became of it.

    Repeated after a crash, it finishes what was begun.
    """
    done = act(loop, answer)
    if done.outcome != "done":
        loop.journal.supersede(wait, reason=str(done.note))
    elif answer.origin is Origin.PERSON:
        loop.journal.carried_out(wait)
    else:
        # Nobody decided on it: the same rows may be trained on once more.
        loop.journal.supersede(wait, reason=answer.why or "")
    return done


def settle_answers(history: History[P], act: Callable[[P, Entry], Entry] = carry_out) -> bool:
    """Finish answers that were cut off, and reject candidates that nobody may approve any more.

    Returns whether anything was done: then what a history has read of the journal is old.
    """
    loop = history.loop
    entries = loop.journal.history(loop.use_case.name)
    known = {entry.key: entry for entry in entries}
    settled = False
    for wait in filter(is_open, entries):
        answer = known.get(answer_key(wait))
        if answer is None and loop.registry.production() == wait.decision.version:
            # A person made it live without an answer.
            loop.journal.supersede(wait, by=last_settled(entries), reason="it is live already")
            settled = True
            continue
        if answer is None:
            if not (why := find_obstacle(history, wait, entries)):
                continue
            answer = write_answer(loop, wait, Action.REJECT, window=history.window, why=why)
        finish_answer(loop, wait, answer, act)
        settled = True
    return settled


def _name(version: int | None) -> str:
    return "nothing" if version is None else f"version {version}"
