"""A person approves or rejects a candidate that waits: on the page, in Prefect or in a terminal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from closedloop.decisions.checks import Action
from closedloop.errors import AnswerRefused, ClosedLoopError, UseCaseError
from closedloop.records.as_windows import PREFIX
from closedloop.storage.entry import Entry
from closedloop.turn.agreement import refuse_disagreement
from closedloop.turn.answers import (
    find_changed_rows,
    find_expiry,
    find_obstacle,
    finish_answer,
    write_answer,
)
from closedloop.turn.card import carry_out_with_card
from closedloop.turn.history import History
from closedloop.turn.open import Loop, choose_source
from closedloop.turn.waiting_decisions import answer_key, read_waiting
from closedloop.turn.who_and_why import check_name, check_reason
from closedloop.windows.sources import ChainedSource

ANSWERED = {Action.PROMOTE: "approved", Action.REJECT: "rejected"}


def waiting(loop: Loop) -> tuple[Entry, ...]:
    """The decisions that wait for a person, oldest first."""
    return read_waiting(loop.journal.history(loop.use_case.name))


def tell_obstacle(loop: Loop, wait: Entry) -> str:
    """Why a decision that waits can only be rejected now; empty while it can be approved.

    Raises SourceError when the windows cannot be listed. The rows are not read: `approve` does.
    """
    entries = loop.journal.history(loop.use_case.name)
    return find_obstacle(_open_history(loop, wait), wait, entries)


def count_windows_left(loop: Loop, wait: Entry) -> int:
    """How many newer windows may still come before a decision expires; negative once it has."""
    return find_expiry(_open_history(loop, wait), wait)[1]


def read_waits(loop: Loop) -> list[dict[str, Any]]:
    """What waits for a person, as `closedloop status --json` prints it.

    `windows_left` is None and `obstacle` empty while the windows cannot be listed.
    """
    return [_describe(loop, wait) for wait in waiting(loop)]


def _describe(loop: Loop, wait: Entry) -> dict[str, Any]:
    left, obstacle = None, ""
    with suppress(ClosedLoopError):  # a source or MLflow that is away hides nothing of what waits
        left, obstacle = count_windows_left(loop, wait), tell_obstacle(loop, wait)
    version, number = wait.decision.version, wait.id
    told = (
        f"decision {number} waits for a person: version {version} for {wait.decision.window}, "
        f"{wait.decision.reason}"
    )
    if obstacle:
        told += f"; it can only be rejected now: {obstacle}"
    else:
        windows = "" if left is None else f" within {left} newer windows"
        told += (
            f"; answer{windows} with: closedloop approve {number} --reason WHY, or: "
            f"closedloop reject {number} --reason WHY"
        )
    return {
        "decision": number,
        "version": version,
        "window": wait.decision.window,
        "since": wait.at.isoformat(timespec="seconds"),
        "windows_left": left,
        "obstacle": obstacle,
        "reason": wait.decision.reason,
        "told": told,
    }


def approve(
    loop: Loop,
    decision: int,
    *,
    by: str,
    reason: str,
    act: Callable[[Loop, Entry], Entry] = carry_out_with_card,
) -> Entry:
    """Promote the candidate that a decision is about; returns the answer, carried out by `act`.

    Approving twice finds the first answer, which may be another person's, and finishes it. Raises
    AnswerRefused when it was rejected, or when production, the candidate's rows or its time have
    moved on; UseCaseError for a decision that waits for nobody and for a reason that says nothing.
    """
    return _answer(loop, decision, Action.PROMOTE, by, reason, act)


def reject(
    loop: Loop,
    decision: int,
    *,
    by: str,
    reason: str,
    act: Callable[[Loop, Entry], Entry] = carry_out_with_card,
) -> Entry:
    """Reject the candidate that a decision is about; production stays. As `approve`.

    What can no longer be approved can be rejected, unless it is live.
    """
    return _answer(loop, decision, Action.REJECT, by, reason, act)


def tell_answer(answer: Entry) -> str:
    """Who answered, when and why, in a line."""
    who = answer.by or "the loop"
    return (
        f"{ANSWERED[answer.decision.action]} by {who} at {answer.at:%Y-%m-%d %H:%M} UTC "
        f"(decision {answer.id}): {answer.why or answer.decision.reason}"
    )


def _answer(
    loop: Loop,
    decision: int,
    action: Action,
    by: str,
    reason: str,
    act: Callable[[Loop, Entry], Entry],
) -> Entry:
    by, reason = check_name(by), check_reason(reason)
    _find_waiting(loop, decision)  # a wrong id waits for no turn
    with loop.lock("approve" if action is Action.PROMOTE else "reject"):
        refuse_disagreement(loop)
        wait = _find_waiting(loop, decision)
        answer = loop.journal.find(answer_key(wait))
        if answer is None:
            window = _look_again(loop, wait, action)
            answer = write_answer(loop, wait, action, window=window, by=by, why=reason)
        if answer.decision.action is not action:
            raise AnswerRefused(
                where=f"decision {decision}",
                wanted="a decision that nobody has answered otherwise",
                got=tell_answer(answer),
                then=f"look at it with: closedloop why {answer.id}",
            )
        return finish_answer(loop, wait, answer, act)


def _look_again(loop: Loop, wait: Entry, action: Action) -> str:
    """The window that the answer counts from; raises AnswerRefused when it may not be given."""
    version, live = wait.decision.version, loop.registry.production()
    if wait.outcome is not None:
        raise _refuse(wait, str(wait.note) or "it was carried out")
    if action is Action.REJECT:
        if version == live:
            raise _refuse(wait, f"version {version} is live", "go back with: closedloop rollback")
        return wait.decision.window
    entries = loop.journal.history(loop.use_case.name)
    history = _open_history(loop, wait)
    because = find_obstacle(history, wait, entries)
    if not because:
        because = find_changed_rows(history, wait)
    if because:
        raise _refuse(wait, because)
    if not wait.decision.follows:
        raise _refuse(wait, wait.decision.reason, "somebody changed it: closedloop accept")
    loop.registry.loadable(version or 0)
    return _newest_looked_at(history, entries)


def _refuse(wait: Entry, because: str, then: str = "") -> AnswerRefused:
    return AnswerRefused(
        where=f"decision {wait.id}",
        wanted=f"version {wait.decision.version} as it was judged, to be answered now",
        got=because,
        then=then or "look at closedloop status; a new candidate: closedloop train",
    )


def _newest_looked_at(history: History[Loop], entries: tuple[Entry, ...]) -> str:
    """The newest window that a turn has looked at: probation begins there, not where it waited."""
    looked_at = {entry.decision.window for entry in entries} & set(history.names)
    return max(looked_at, key=history.names.index, default=history.window)


def _open_history(loop: Loop, wait: Entry) -> History[Loop]:
    """The windows as the turn saw them that wrote the decision down: with records, or without."""
    of_records = wait.decision.window.startswith(PREFIX)
    if of_records == isinstance(loop.source, ChainedSource):
        return History(loop)
    records = loop.records if of_records else None
    return History(replace(loop, source=choose_source(loop.use_case, loop.settings, records)))


def _find_waiting(loop: Loop, number: int) -> Entry:
    entry = loop.journal.entry(number)
    if entry.use_case != loop.use_case.name:
        wanted, got = f"a decision of {loop.use_case.name}", f"one of {entry.use_case}"
    elif entry.decision.action is not Action.WAIT:
        wanted = "a decision that waits for a person"
        got = f"{entry.decision.action.value}, which asks nobody"
    else:
        return entry
    ids = ", ".join(str(wait.id) for wait in waiting(loop)) or "none"
    raise UseCaseError(
        where=f"decision {number}", wanted=wanted, got=got, then=f"those that wait: {ids}"
    )
