"""One turn and one retraining, step by step, for flows and replays alike.

The order stands here. A caller passes the steps that it does in its own way: flows as Prefect
tasks, a replay in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from closedloop.decisions.checks import Action, Decision, Kind, request_check
from closedloop.decisions.evidence import PromotionEvidence
from closedloop.decisions.promotion import decide_promotion
from closedloop.decisions.retraining import UNSCORABLE
from closedloop.errors import ModelError, StoreError, UseCaseError
from closedloop.storage.details import RunFacts, TurnDetails, WindowFacts
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.answers import settle_answers
from closedloop.turn.carry_out import carry_out, finish_retraining
from closedloop.turn.history import History
from closedloop.turn.kept_out import read_standings
from closedloop.turn.observe import Observation, observe_window
from closedloop.turn.ports import P, Parts
from closedloop.turn.taken_back import find_taken_back
from closedloop.turn.write_down import decide_turn, write_promotion


def _keep_nothing(history: History[Parts], seen: Observation) -> None:
    """Evidence of a replay is not logged."""


def take_turn(
    history: History[P],
    *,
    observe: Callable[[History[P]], Observation] = observe_window,
    keep_report: Callable[[History[P], Observation], RunFacts | None] = _keep_nothing,
    act: Callable[[P, Entry], Entry] = carry_out,
) -> Entry:
    """Observe the window, decide, write the decision down, and carry it out; returns its entry.

    What was decided before on the same data is only carried out. A decision to retrain stays open
    until `retrain` is through. Answers of people that were cut off are finished first.
    """
    if settle_answers(history, act):
        history = History(history.loop, history.window)
    entry = decided_before(history)
    if entry is not None:
        _refuse_lost_files(history, entry)
    else:
        seen = observe(history)
        entry = decide_turn(history, seen, keep_report(history, seen))
    return act(history.loop, entry)


def retrain(
    history: History[P],
    asked: Entry,
    *,
    propose: Callable[[History[P]], PromotionEvidence],
    act: Callable[[P, Entry], Entry] = carry_out,
    lock: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Entry:
    """Propose a candidate, decide, write the decision down, and carry it out; returns its entry.

    `asked` is the decision to retrain, which is done at the end. `lock` is held while it is decided
    and carried out, not while the candidate is fitted: what people or a turn did meanwhile to what
    the candidate was judged by supersedes the decision. One that waits for a person stays open, and
    takes the place of an older one.
    """
    loop, key = history.loop, history.promotion_key
    known = loop.journal.find(key)
    finished = known is not None and known.outcome is not None
    # For a decision that a crash left open, this is the evidence of the first time.
    evidence = None if finished else propose(history)
    with lock():
        if evidence is not None:
            again = find_taken_back(history, evidence, known)
            evidence = replace(evidence, taken_back=again)
            decision = decide_promotion(evidence, loop.use_case.policy)
            known = known or write_promotion(history, evidence, decision, asked.id)
            _refuse_another_answer(known, decision)
            if because := _kept_out_meanwhile(history, evidence):
                loop.journal.supersede(known, reason=because)
        assert known is not None
        act(loop, loop.journal.entry(known.id))
        settle_answers(history, act)
        entry = loop.journal.entry(known.id)
        finish_retraining(loop, asked, history.names)
    return entry


def _kept_out_meanwhile(history: History[Parts], evidence: PromotionEvidence) -> str:
    """That the candidate learnt from a window which is kept out of training now; empty if not."""
    standings = read_standings(history.loop.journal.history(history.loop.use_case.name))
    suspect = [
        name
        for name in history.due
        if name not in evidence.quarantined and name in standings and standings[name].out
    ]
    if not suspect:
        return ""
    decided = standings[suspect[0]].entry.id
    return (
        f"{suspect[0]} was taken out of training by decision {decided} while this was fitted; "
        f"closedloop train --window {history.window} fits again without it"
    )


def decided_before(history: History[Parts]) -> Entry | None:
    """What an earlier run decided on the same data.

    A rollback ends a turn, otherwise the retraining decision does.
    """
    journal = history.loop.journal
    back = journal.find(history.key("rollback"))
    if back is not None and back.decision.action is Action.ROLLBACK:
        return back
    return journal.find(history.key("retraining"))


def _refuse_another_answer(entry: Entry, decision: Decision) -> None:
    """Raise StoreError when the evidence does not lead to what is written down."""
    written = entry.decision
    if (written.action, written.version) != (decision.action, decision.version):
        raise StoreError(
            where=f"journal, decision {entry.id}",
            wanted=f"{decision.action.value} version {decision.version}, as the evidence says",
            got=f"{written.action.value} version {written.version}",
            then="somebody changed it, or another program wrote it: closedloop accept",
        )


def _refuse_lost_files(history: History[Parts], entry: Entry) -> None:
    """Raise ModelError when production was fine in this decision and cannot be loaded now."""
    error = history.production_error
    known = any(check.claim == UNSCORABLE for check in entry.decision.checks)
    if error and entry.outcome is not None and not known:
        raise ModelError(
            where=f"production of {history.loop.use_case.name}",
            wanted=f"the version that decision {entry.id} left",
            got=error,
            then="restore its files from a backup, or train again: closedloop train",
        )


def refuse_older_training(history: History[Parts]) -> None:
    """Raise UseCaseError when production already knows a newer window than this history has."""
    live = history.production
    newest = None if live is None else history.place(live.trained_through)
    if live is None or newest is None or newest <= history.index:
        return
    raise UseCaseError(
        where=f"training for {history.window}",
        wanted=f"a window from {live.trained_through} on: version {live.version}, which is "
        "production, was trained through it",
        got=f"{history.window}, which is older",
        then="train for the newest window: closedloop train; or, to train without what came "
        f"later: closedloop train --window {history.window} --force",
    )


def write_request(history: History[Parts], *, force: bool = False) -> Entry:
    """Write down that a person asked for a retraining on this window.

    Raises UseCaseError when production knows a newer window, unless `force`.
    """
    if not force:
        refuse_older_training(history)
    live = history.production.version if history.production else None
    asked = request_check(f"train for {history.window}")
    decision = Decision(Kind.RETRAINING, Action.RETRAIN, history.window, (asked,), live)
    return history.loop.journal.write(
        history.key("requested"),
        history.loop.use_case.name,
        decision,
        details=TurnDetails(live, WindowFacts(notes=history.moved)),
        origin=Origin.PERSON,
    )
