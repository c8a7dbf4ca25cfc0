"""Carries decisions out, so that doing it again is safe."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from closedloop.decisions.checks import Action, Kind
from closedloop.errors import RegistryError, StoreError
from closedloop.registry.versions import find_digest
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.moved_aliases import KINDS, MOVES, read_live
from closedloop.turn.ports import Parts


def carry_out(loop: Parts, entry: Entry) -> Entry:
    """Do what a decision says and note its outcome; returns the entry as it then stands.

    A decision with an outcome is left alone. A RETRAIN is carried out, and noted, by `retrain`, a
    WAIT by its answer.
    Raises StoreError when the checks of a decision do not lead to it.
    """
    decision, production = entry.decision, entry.production
    if entry.outcome is not None or decision.action in (Action.RETRAIN, Action.WAIT):
        return entry
    if (later := _overtaken_by(loop, entry)) is not None:
        loop.journal.supersede(entry, by=later)
        return loop.journal.entry(entry.id)
    if not decision.follows:
        raise StoreError(
            where=f"journal, decision {entry.id}",
            wanted=f"checks that lead to {decision.action.value}",
            got=decision.reason,
            then="somebody changed it; find out who, and go on with: closedloop accept",
        )
    if _files_changed(loop, entry):
        reason = f"version {decision.version} no longer has the files that were judged"
        loop.journal.supersede(entry, reason=reason)
        return loop.journal.entry(entry.id)
    moved = True
    adopted = decision.kind is Kind.OUTSIDE and decision.action is Action.ACCEPT
    if (decision.action is Action.PROMOTE or adopted) and decision.version is not None:
        moved = loop.registry.promote(
            decision.version, instead_of=production, reason=decision.reason, decision=entry.id
        )
    elif (
        decision.action is Action.ROLLBACK
        and decision.version is not None
        and production is not None
    ):
        moved = loop.registry.roll_back(
            decision.version, instead_of=production, reason=decision.reason, decision=entry.id
        )
    elif decision.action is Action.RETURN and decision.version is not None:
        settled = read_live(loop.journal.history(entry.use_case, kinds=KINDS))[0]
        moved = loop.registry.put_back(
            decision.version, instead_of=production, previous=settled.previous
        )
    elif decision.action is Action.REJECT and decision.version is not None:
        moved = loop.registry.production() in (production, decision.version)
        if moved:
            loop.registry.reject(decision.version, reason=decision.reason, decision=entry.id)
    if moved:
        loop.journal.carried_out(entry)
        _keep_head(loop, entry)
    else:
        loop.journal.supersede(entry, reason=_tell_moved_on(loop, entry))
    return loop.journal.entry(entry.id)


def _keep_head(loop: Parts, entry: Entry) -> None:
    """Keep the journal's newest hash in the registry: who writes the whole chain anew, or cuts its
    end off, would have to change it there, too.

    One that the chain does not know is left: it is the evidence, until a person's move or
    acceptance, which is refused where anything is wrong. A registry that is away keeps the one
    before.
    """
    by_person = entry.origin is Origin.PERSON and entry.decision.action in MOVES
    with suppress(RegistryError):
        kept = loop.registry.kept_head()
        if kept is None or by_person or loop.journal.knows_head(entry.use_case, kept):
            loop.registry.keep_head(loop.journal.read_head(entry.use_case))


def _tell_moved_on(loop: Parts, entry: Entry) -> str:
    """That the version which the decision was about is not live any more."""
    live, window = loop.registry.production(), entry.decision.window
    now = (
        "nothing is in production any more"
        if live is None
        else (f"production is meanwhile version {live}")
    )
    if entry.decision.kind is not Kind.PROMOTION or entry.origin is Origin.PERSON:
        return now
    before = "nothing" if entry.production is None else f"version {entry.production}"
    return f"{now}, and this compared with {before}: closedloop train --window {window} does again"


def _files_changed(loop: Parts, entry: Entry) -> bool:
    """Whether the version that a decision judged has other files in the registry now."""
    if entry.bundle is None or entry.decision.version is None:
        return False
    return find_digest(loop.registry.versions(), entry.decision.version) not in (None, entry.bundle)


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
    if entry.decision.action not in MOVES:
        return None
    later = (
        other
        for other in loop.journal.history(entry.use_case)
        if other.id > entry.id and other.outcome == "done"
    )
    return next((other for other in later if other.decision.action in MOVES), None)
