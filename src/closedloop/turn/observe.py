"""From a window's name to evidence and facts for the journal; nothing is written here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from closedloop.decisions.auc_loss import loss_over_limit
from closedloop.decisions.checks import Action, Decision
from closedloop.decisions.evidence import RetrainingEvidence
from closedloop.decisions.repeated_rows import RepeatedRows
from closedloop.decisions.retraining import drift_over_limit
from closedloop.decisions.rollback_evidence import RollbackEvidence
from closedloop.storage.details import DriftFacts, EstimateFacts, TurnDetails, WindowFacts
from closedloop.training.candidates import LabelledWindow
from closedloop.turn.answers_seen import look_at_answers
from closedloop.turn.compute import ReadWindow
from closedloop.turn.history import History
from closedloop.turn.missed_gain import describe_gain, measure_gain
from closedloop.turn.new_columns import find_new_columns
from closedloop.turn.new_rows import keep_new_rows, trained_windows
from closedloop.turn.ports import Parts
from closedloop.turn.realised import Realised, judge_production, watch_promotion
from closedloop.turn.window_drift import measure_window_drift
from closedloop.turn.without_labels import estimate_without_labels
from closedloop.turn.witness import hear_witness


@dataclass(frozen=True)
class Observation:
    """What one look at a window showed, with the facts that the journal keeps.

    `draw_page` draws Evidently's page.

    `rollback` is None while production is not on probation, `quarantine` while no labelled window
    could be judged. `heard` are the decisions on older windows in quarantine, with the judged
    window as witness.
    """

    evidence: RetrainingEvidence
    details: TurnDetails
    rollback: RollbackEvidence | None = None
    quarantine: Decision | None = None
    heard: tuple[Decision, ...] = ()
    draw_page: Callable[[], str | None] | None = field(default=None, repr=False)


def observe_window(history: History[Parts]) -> Observation:
    """Look at the current window.

    Contract first, then drift, realised AUC and what a rollback would have to know.
    """
    policy, window, state = (
        history.loop.use_case.policy,
        history.read(history.window),
        history.state(),
    )
    new_columns = find_new_columns(history, window)
    if window.violations:
        broken = RetrainingEvidence(
            window.facts, state, violations=window.violations, new_columns=new_columns
        )
        return Observation(broken, TurnDetails(window=describe_window(window, history.moved)))

    answers = look_at_answers(history, state)
    # A production that cannot answer these rows is measured no further: the turn shall go back.
    unusable = answers is not None and bool(answers.production.unusable)
    drift, draw_page = (
        (None, None)
        if unusable or history.bundle is None
        else measure_window_drift(history, window)
    )
    realised = Realised((), None) if unusable else judge_production(history, state)
    suspect = realised.quarantine
    if suspect is not None and suspect.action is not Action.QUARANTINE:
        suspect = None
    evidence = RetrainingEvidence(
        window=window.facts,
        state=state,
        drift=drift,
        realised_auc=realised.auc,
        new_labels=_count_new_labels(history, realised.newer),
        production_error=history.production_error,
        repeated=_count_repeated(history, realised.judged),
        quarantined=suspect.window if suspect else "",
        quarantined_because=suspect.reason if suspect else "",
        new_columns=new_columns,
        realised=realised.measured,
    )
    heard = hear_witness(history, realised)
    # Labels that are suspect, or were until now, say nothing of what others would have gained.
    if suspect is None and all(decision.action is not Action.RELEASE for decision in heard):
        lost = loss_over_limit(evidence, policy) is True
        evidence = replace(evidence, gain=measure_gain(history, realised.judged, lost=lost))
    notes = (drift.note,) if drift and drift.note else ()
    details = TurnDetails(
        window=describe_window(window, (*history.moved, *notes)),
        drift=DriftFacts(
            drift_share=drift.drift_share if drift else None,
            drifted_columns=drift.drifted_columns if drift else (),
            drift_over=drift_over_limit(evidence, policy),
            loss_over=loss_over_limit(evidence, policy),
            drift_reference=drift.reference_window if drift else None,
        ),
        realised=realised.facts,
        estimate=_estimate(history, realised),
        gain=describe_gain(history, evidence.gain),
    )
    return Observation(
        evidence,
        details,
        watch_promotion(history, state, answers),
        realised.quarantine,
        heard,
        draw_page,
    )


def _count_new_labels(history: History[Parts], newer: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Labelled rows by class in the windows `newer`, each row once; empty without a window."""
    if not newer:
        return ()
    classes, earlier = history.loop.use_case.target.classes, list(trained_windows(history))
    counts = np.zeros(len(classes), dtype=int)
    for name in newer:
        new = keep_new_rows(history, history.read(name).labelled, earlier).window
        counts += np.bincount(new.labels, minlength=len(classes))
        earlier.append(name)
    return tuple(zip(classes, (int(count) for count in counts), strict=True))


def _count_repeated(history: History[Parts], judged: LabelledWindow | None) -> RepeatedRows | None:
    """Rows of the newest labelled window that any window before it holds."""
    if judged is None:
        return None
    return keep_new_rows(history, judged, history.names[: judged.index]).repeated


def _estimate(history: History[Parts], realised: Realised) -> EstimateFacts:
    """AUC without labels, learnt on windows whose labels are trusted; none needed where the current
    window has labels of its own."""
    facts = realised.facts
    if facts is not None and facts.realised_on == history.window:
        return estimate_without_labels(history, ())
    mistrusted = set(history.quarantined())
    if facts is not None and facts.quarantined and facts.realised_on:
        mistrusted.add(facts.realised_on)
    return estimate_without_labels(
        history, [name for name in realised.newer if name not in mistrusted]
    )


def describe_window(window: ReadWindow, told: Sequence[str] = ()) -> WindowFacts:
    """What the journal keeps of a window, whatever is found in it, after what else is `told`."""
    facts = window.facts
    return WindowFacts(
        facts.rows,
        facts.labelled_rows,
        facts.digest,
        (*told, *window.notes),
        window.unnamed_columns,
    )
