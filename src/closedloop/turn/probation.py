"""Only the watch after a promotion: production against the version that it replaced."""

from __future__ import annotations

from dataclasses import dataclass, replace

from closedloop.decisions.checks import Decision
from closedloop.decisions.rollback import decide_rollback
from closedloop.decisions.rollback_evidence import RollbackEvidence
from closedloop.storage.details import TurnDetails
from closedloop.turn.answers_seen import look_at_answers
from closedloop.turn.history import History
from closedloop.turn.observe import describe_window
from closedloop.turn.ports import Parts
from closedloop.turn.realised import Realised, judge_production, watch_promotion


@dataclass(frozen=True)
class Probation:
    """What a rollback would have to know, with the facts that the journal keeps.

    `evidence` is None when there is nothing on probation that could be judged; `reason` says why.
    """

    evidence: RollbackEvidence | None
    details: TurnDetails
    quarantine: Decision | None = None
    reason: str = ""


def gather_probation(history: History[Parts]) -> Probation:
    """The evidence that a turn has for a rollback, without drift.

    The same rows, the same numbers, None in the same cases.
    """
    window, state = history.read(history.window), history.state()
    details = TurnDetails(window=describe_window(window, history.moved))
    if window.violations:
        broken = "; ".join(map(str, window.violations))
        return Probation(None, details, reason=f"{history.window} breaks the contract: {broken}")
    answers = look_at_answers(history, state)
    asked = not (answers and answers.production.unusable)
    realised = judge_production(history, state) if asked else Realised((), None)
    evidence = watch_promotion(history, state, answers)
    # A rollback that nothing was measured for says what was wanted: a version to go back to, and
    # production on probation.
    reason = (
        ""
        if evidence
        else decide_rollback(
            RollbackEvidence(window.facts, state, None), history.loop.use_case.policy
        ).reason
    )
    return Probation(
        evidence, replace(details, realised=realised.facts), realised.quarantine, reason
    )
