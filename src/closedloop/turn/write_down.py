"""One turn, in its order: what is decided first, and what is written down with it. Flows and
replays share it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from closedloop.decisions.checks import Action, Decision
from closedloop.decisions.evidence import PromotionEvidence, RollbackEvidence
from closedloop.decisions.retraining import decide_retraining
from closedloop.decisions.rollback import decide_rollback
from closedloop.storage.journal import Entry
from closedloop.turn.carry_out import carry_out
from closedloop.turn.history import History
from closedloop.turn.observe import Turn
from closedloop.turn.ports import Parts


def decide_turn(history: History[Parts], turn: Turn, details: Mapping[str, Any]) -> Entry:
    """Decide on a rollback first and on a retraining next, and write each down with `details`; a
    rollback ends the turn.

    What is kept as it is needs nothing more; anything else is still to be carried out.
    """
    if turn.rollback is not None:
        back = decide_probation(history, turn.rollback, details)
        if back.decision.action is Action.ROLLBACK:
            return back
    return _write_down(
        history,
        "retraining",
        decide_retraining(turn.evidence, history.loop.use_case.policy),
        details,
    )


def decide_probation(
    history: History[Parts], watched: RollbackEvidence, details: Mapping[str, Any]
) -> Entry:
    """Decide whether production stays, and write that down with `details`, once for the same data,
    whoever asks."""
    return _write_down(
        history, "rollback", decide_rollback(watched, history.loop.use_case.policy), details
    )


def _write_down(
    history: History[Parts], kind: str, decision: Decision, details: Mapping[str, Any]
) -> Entry:
    """The decision with the facts behind it and the version that was live."""
    live = history.production.version if history.production else None
    entry = history.loop.journal.write(
        history.key(kind),
        history.loop.use_case.name,
        decision,
        details={**details, "production": live},
    )
    return carry_out(history.loop, entry) if decision.action is Action.KEEP else entry


def write_promotion(
    history: History[Parts], evidence: PromotionEvidence, decision: Decision, cause: int
) -> Entry:
    """The decision on a candidate with the facts that carrying it out and reading it later need."""
    compared = evidence.comparison
    details = {
        "production": evidence.production,
        "recipe": compared.recipe if compared else None,
        "evaluated_on": compared.window if compared else None,
        "val_auc": compared.candidate.val_auc if compared else None,
        "production_val_auc": compared.production.val_auc
        if compared and compared.production
        else None,
        "delta": compared.delta.value if compared and compared.delta else None,
        "quarantined_windows": list(evidence.quarantined),
    }
    return history.loop.journal.write(
        history.key("promotion"), history.loop.use_case.name, decision, details=details, cause=cause
    )
