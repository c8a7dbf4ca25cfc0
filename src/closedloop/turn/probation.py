"""The watch after a promotion, alone: production against the version that it replaced, and nothing
else of a turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from closedloop.decisions.evidence import RollbackEvidence
from closedloop.decisions.rollback import decide_rollback
from closedloop.turn.history import History
from closedloop.turn.observe import describe_window
from closedloop.turn.ports import Parts
from closedloop.turn.realised import judge_production, watch_promotion


@dataclass(frozen=True)
class Probation:
    """What a rollback would have to know, with the facts that the journal keeps; `evidence` is
    None, for `reason`, when there is nothing on probation that could be judged."""

    evidence: RollbackEvidence | None
    details: dict[str, Any]
    reason: str = ""


def gather_probation(history: History[Parts]) -> Probation:
    """The evidence that a turn has for a rollback, without drift: the same rows, the same numbers,
    None in the same cases."""
    window, state = history.read(history.window), history.state()
    details = describe_window(window)
    if window.violations:
        return Probation(
            None,
            details,
            f"{history.window} breaks the contract: {'; '.join(map(str, window.violations))}",
        )
    realised = judge_production(history, state)
    evidence = watch_promotion(history, state, realised.judged)
    # A rollback that nothing was measured for says what was wanted: a version to go back to, and
    # production on probation.
    reason = (
        ""
        if evidence
        else decide_rollback(
            RollbackEvidence(window.facts, state, None), history.loop.use_case.policy
        ).reason
    )
    return Probation(evidence, {**details, **realised.details}, reason)
