"""From a window's name to evidence and facts for the journal; nothing is written here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from closedloop.decisions.auc_loss import loss_over_limit
from closedloop.decisions.checks import Action, Decision
from closedloop.decisions.evidence import (
    DriftReport,
    RetrainingEvidence,
)
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
from closedloop.turn.watched_columns import PREDICTION, TARGET
from closedloop.turn.without_labels import estimate_without_labels
from closedloop.turn.witness import hear_witness
from closedloop.use_case.contract import UseCase


@dataclass(frozen=True)
class Observation:
    """What one look at a window showed, with the facts that the journal keeps.

    `report` is Evidently's page.

    `rollback` is None while production is not on probation, `quarantine` while no labelled window
    could be judged. `heard` are the decisions on older windows in quarantine, with the judged
    window as witness.
    """

    evidence: RetrainingEvidence
    details: TurnDetails
    rollback: RollbackEvidence | None = None
    quarantine: Decision | None = None
    heard: tuple[Decision, ...] = ()
    report: str | None = field(default=None, repr=False)


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
    drift, report = (
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
    details = TurnDetails(
        window=describe_window(window, history.moved),
        drift=DriftFacts(
            drift_share=drift.drift_share if drift else None,
            drifted_columns=drift.drifted_columns if drift else (),
            drift_over=drift_over_limit(evidence, policy),
            loss_over=loss_over_limit(evidence, policy),
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
        report,
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


def measure_window_drift(
    history: History[Parts], window: ReadWindow, **options: Any
) -> tuple[DriftReport, str | None]:
    """The window compared with production's reference: features, predictions and target.

    Needs a production model that loads. `options` are further ones of `measure_drift`.
    """
    assert history.bundle is not None
    live = history.production.version if history.production else "?"
    current = watched_frame(window.prepared, history.answers(window.facts.name), history)
    names = (f"version {live}", window.facts.name)
    return compare_watched(history.loop, history.bundle.reference(), current, names, **options)


def compare_watched(
    loop: Parts,
    reference: pd.DataFrame,
    current: pd.DataFrame,
    names: tuple[str, str],
    **options: Any,
) -> tuple[DriftReport, str | None]:
    """Two frames of `watched_frame` compared, by the limits of loop.toml.

    Predictions and target count where both sides have them. `names` are those of the two sides,
    `options` are further ones of `measure_drift`.
    """
    use_case = loop.use_case
    numeric = [name for name in use_case.numeric if use_case.columns[name].watch]
    categorical = [name for name in use_case.categorical if use_case.columns[name].watch]
    known = [name for name in reference if name in current and current[name].notna().any()]
    if PREDICTION in known:
        (numeric if len(use_case.target.classes) == 2 else categorical).append(PREDICTION)
    if TARGET in known:
        categorical.append(TARGET)
    return loop.compute.measure_drift(
        reference,
        current,
        numeric=tuple(numeric),
        categorical=tuple(categorical),
        policy=use_case.policy.drift,
        reference_name=names[0],
        current_name=names[1],
        seed=use_case.training.seed,
        ignore_nulls=frozenset({PREDICTION, TARGET, *_often_absent(use_case)}),
        max_drift_share=use_case.policy.retraining.max_drift_share,
        **options,
    )


def _often_absent(use_case: UseCase) -> list[str]:
    """Columns that whole windows lack: their nulls say which windows are compared, not drift."""
    return [name for name, column in use_case.columns.items() if column.since or column.optional]


def watched_frame(
    prepared: pd.DataFrame, probabilities: np.ndarray | None, history: History[Parts]
) -> pd.DataFrame:
    """The columns that drift is measured on.

    Features, production's prediction (the probability of the second of two classes, else the
    likeliest class) and the target; missing where they are not known.
    """
    use_case = history.loop.use_case
    frame = prepared[list(use_case.columns)].copy()
    classes = np.asarray(use_case.target.classes, dtype=object)
    if len(classes) == 2:
        frame[PREDICTION] = np.nan if probabilities is None else probabilities[:, 1]
    else:
        frame[PREDICTION] = None if probabilities is None else classes[probabilities.argmax(axis=1)]
    frame[TARGET] = prepared.get(use_case.target.column)
    return frame
