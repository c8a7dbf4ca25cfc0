"""What is decided on a window, in which order, and what is written down with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from closedloop.decisions.checks import Action, Decision
from closedloop.decisions.evidence import PromotionEvidence
from closedloop.decisions.retraining import decide_retraining
from closedloop.decisions.rollback import decide_rollback
from closedloop.decisions.rollback_evidence import RollbackEvidence
from closedloop.registry.versions import find_digest
from closedloop.storage.details import (
    ComparisonFacts,
    PromotionDetails,
    RealisedFacts,
    RunFacts,
    TurnDetails,
)
from closedloop.storage.entry import Entry
from closedloop.turn.answers import describe_rows
from closedloop.turn.carry_out import carry_out
from closedloop.turn.history import History
from closedloop.turn.observe import Observation
from closedloop.turn.ports import Parts
from closedloop.turn.shadow_facts import describe_replay


def decide_turn(history: History[Parts], seen: Observation, run: RunFacts | None = None) -> Entry:
    """Decide on quarantine, rollback and retraining, and write each down with its facts.

    A rollback ends the turn.

    `run` is where the evidence was logged. What needs nothing more is carried out at once; anything
    else is left to the caller.
    """
    details = replace(seen.details, run=run)
    write_quarantine(history, seen.quarantine)
    write_heard(history, seen.heard, seen.details)
    if seen.rollback is not None:
        back = decide_probation(history, seen.rollback, details)
        if back.decision.action is Action.ROLLBACK:
            return back
    decision = decide_retraining(seen.evidence, history.loop.use_case.policy)
    return _write_down(history, history.key("retraining"), decision, details)


def decide_probation(
    history: History[Parts], evidence: RollbackEvidence, details: TurnDetails
) -> Entry:
    """Decide whether production stays, and write that down, once for the same data."""
    decision = decide_rollback(evidence, history.loop.use_case.policy)
    return _write_down(history, history.key("rollback"), decision, details)


def write_quarantine(history: History[Parts], decision: Decision | None) -> None:
    """Write down that a window is quarantined, once for its data.

    A window that is trusted leaves no entry.
    """
    if decision is not None and decision.action is Action.QUARANTINE:
        key = history.quarantine_key(decision.window)
        _write_down(history, key, decision, TurnDetails())


def write_heard(history: History[Parts], heard: Sequence[Decision], details: TurnDetails) -> None:
    """Write down whether windows stay in quarantine, once for their rows and the witness's."""
    realised = details.realised
    if realised is None or realised.realised_on is None:
        return
    witness = history.read(realised.realised_on).facts.digest[:12]
    for decision in heard:
        key = f"{history.quarantine_key(decision.window)}/{witness}"
        facts = RealisedFacts(realised.realised_on, realised.realised_auc)
        _write_down(history, key, decision, TurnDetails(realised=facts))


def _write_down(
    history: History[Parts], key: str, decision: Decision, details: TurnDetails
) -> Entry:
    """The decision with the facts behind it and the version that was live."""
    live = history.production.version if history.production else None
    facts = replace(
        details, production=live, bundle=find_digest(history.versions, decision.version)
    )
    entry = history.loop.journal.write(key, history.loop.use_case.name, decision, details=facts)
    done = decision.action in (Action.KEEP, Action.QUARANTINE, Action.RELEASE)
    return carry_out(history.loop, entry) if done else entry


def write_promotion(
    history: History[Parts], evidence: PromotionEvidence, decision: Decision, cause: int
) -> Entry:
    """The decision on a candidate with the facts that carrying it out and reading it later need."""
    compared, facts = evidence.comparison, ComparisonFacts()
    if compared is not None:
        facts = ComparisonFacts(
            recipe=compared.recipe,
            evaluated_on=compared.window,
            val_auc=compared.candidate.val_auc,
            val_auc_error=compared.candidate.val_auc_error,
            production_val_auc=compared.production.val_auc if compared.production else None,
            delta=compared.delta.value if compared.delta else None,
        )
    facts = replace(facts, quarantined_windows=evidence.quarantined)
    # Not those of the history, which was opened before the candidate was registered.
    bundle = find_digest(history.loop.registry.versions(), decision.version)
    rows = None
    if compared is not None and decision.action is Action.WAIT:
        left_out = (name for name, _ in evidence.left_out)
        rows = describe_rows(history, left_out, compared.window)
    return history.loop.journal.write(
        history.promotion_key,
        history.loop.use_case.name,
        decision,
        details=PromotionDetails(
            evidence.production,
            facts,
            bundle,
            rows,
            shadow=describe_replay(evidence.shadow),
        ),
        cause=cause,
    )
