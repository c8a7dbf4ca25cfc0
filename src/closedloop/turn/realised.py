"""How production does on labelled rows that it was not trained on, alone and compared with the
version that it replaced."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from closedloop.bundle.frames import score_frame
from closedloop.decisions.checks import Action, Decision
from closedloop.decisions.deciding_measure import ROC_AUC
from closedloop.decisions.evidence import (
    Estimate,
    LoopState,
)
from closedloop.decisions.label_evidence import QuarantineEvidence
from closedloop.decisions.quarantine import decide_quarantine
from closedloop.decisions.rollback_evidence import AnswersSeen, RollbackEvidence
from closedloop.metrics.auc import estimate_auc, measure_delta
from closedloop.metrics.clustering import count_rarest
from closedloop.metrics.deciding_measure import estimate_measure, influence_of
from closedloop.records.as_windows import corrected_since
from closedloop.storage.details import RealisedFacts
from closedloop.training.candidates import LabelledWindow
from closedloop.turn.answers_seen import load_previous, on_probation
from closedloop.turn.history import History
from closedloop.turn.new_rows import keep_new_rows, trained_windows
from closedloop.turn.ports import Parts
from closedloop.turn.without_labels import estimated_before
from closedloop.windows.groups import number_groups
from closedloop.windows.order import position


@dataclass(frozen=True)
class Realised:
    """How production did on `judged`, the newest labelled window that it was not trained on.

    None where there is none or production cannot be asked.

    `newer` are all such windows, oldest first; `facts` are what the journal keeps; `quarantine`
    says whether the labels of `judged` are trusted. `measured` is `auc` in the measure that
    decides; None if that is AUC.
    """

    newer: tuple[str, ...]
    judged: LabelledWindow | None
    auc: Estimate | None = None
    facts: RealisedFacts | None = None
    quarantine: Decision | None = None
    measured: Estimate | None = None


def judge_production(history: History[Parts], state: LoopState) -> Realised:
    """Production's AUC on the newest labelled window that is new to it.

    With it, whether the labels of that window are trusted.
    """
    newer = history.newer_than(history.production.trained_through if history.production else None)
    labelled = (history.read(name).labelled for name in reversed(newer))
    judged = next((window for window in labelled if len(window.labels)), None)
    if judged is None or history.bundle is None:
        return Realised(newer, judged)
    new, auc = measure_realised(history, judged)
    if auc is None:
        return Realised(newer, judged)
    quarantine = judge_labels(history, new, auc)
    facts = RealisedFacts(
        realised_on=judged.name,
        realised_auc=auc.value,
        quarantined=quarantine.action is Action.QUARANTINE,
        estimated_for_judged=estimated_before(history.entries, judged.name, state.production),
        realised_lower=auc.lower,
        realised_upper=auc.upper,
        realised_rows=auc.rows,
    )
    return Realised(newer, judged, auc, facts, quarantine, _measure_realised(history, judged))


def watch_promotion(
    history: History[Parts], state: LoopState, answers: AnswersSeen | None
) -> RollbackEvidence | None:
    """The evidence for a rollback; None while production is not on probation.

    `answers` is what was seen without labels.
    """
    if not on_probation(history, state):
        return None
    window = history.read(history.window).facts
    served, before = history.loop.served(state.production, state.previous)
    seen = RollbackEvidence(
        window, state, None, answers=answers, served=served, served_before=before
    )
    if answers is not None and (answers.production.unusable or answers.previous.unusable):
        return seen
    return _compare_labelled(history, seen)


def judge_labels(history: History[Parts], judged: LabelledWindow, realised: Estimate) -> Decision:
    """Whether a window, on which production realised this AUC, is quarantined."""
    use_case, live = history.loop.use_case, history.production
    classes, standing = len(use_case.target.classes), history.standings.get(judged.name)
    before = realised_before(history, judged.name)
    evidence = QuarantineEvidence(
        window=judged.name,
        production=live.version if live else None,
        realised_auc=realised,
        earlier_aucs=tuple(auc for auc, _ in before),
        earlier_errors=tuple(error for _, error in before),
        expected_auc=live.val_auc if live else None,
        expected_auc_error=live.val_auc_error if live else None,
        label_counts=count_labels(judged, classes),
        earlier_label_counts=count_earlier_labels(history, judged),
        trusted_by="" if standing is None or standing.out else standing.decided_by,
    )
    return decide_quarantine(evidence, use_case.policy)


def realised_before(history: History[Parts], name: str) -> tuple[tuple[float, float], ...]:
    """Production's AUC on each judged window before this one, oldest first, as written down.

    Each with its standard error, 0 where older versions did not keep it. A window whose labels were
    corrected since is measured anew, with the version that is live now; it is left out where all of
    its rows are old to that version.
    """
    measured: list[tuple[float, float]] = []
    confidence = history.loop.use_case.policy.promotion.confidence
    times = NormalDist().inv_cdf(0.5 + confidence / 2)
    for entry in history.judged_before(name):
        facts = entry.turn.realised
        if facts is None or facts.realised_on is None or facts.realised_auc is None:
            continue
        if not corrected_since(history.loop.source, facts.realised_on, entry.at):
            lower = facts.realised_lower
            reach = 0.0 if lower is None else facts.realised_auc - lower
            measured.append((facts.realised_auc, reach / times))
            continue
        _, auc = measure_realised(history, history.read(facts.realised_on).labelled)
        if auc is not None:
            measured.append((auc.value, (auc.value - auc.lower) / times))
    return tuple(measured)


def count_earlier_labels(
    history: History[Parts], judged: LabelledWindow
) -> tuple[tuple[int, ...], ...]:
    """Rows by class of each labelled window before this one that is not kept out for good."""
    earlier = (
        history.read(name).labelled
        for name in history.due
        if position(history.names, name) < judged.index and name not in history.settled_out
    )
    classes = len(history.loop.use_case.target.classes)
    return tuple(count_labels(window, classes) for window in earlier if len(window.labels))


def count_labels(window: LabelledWindow, classes: int) -> tuple[int, ...]:
    """Rows by class."""
    return tuple(np.bincount(window.labels, minlength=classes).tolist())


def measure_realised(
    history: History[Parts], judged: LabelledWindow
) -> tuple[LabelledWindow, Estimate | None]:
    """The rows of a labelled window that are new to production, and its AUC on them.

    None when a class is missing.
    """
    new = keep_new_rows(history, judged, trained_windows(history))
    answers = history.answers(judged.name, labelled=True)[new.kept]
    use_case = history.loop.use_case
    groups = number_groups(use_case, new.window.frame)
    confidence = use_case.policy.promotion.confidence
    return new.window, estimate_auc(new.window.labels, answers, confidence, groups)


def _measure_realised(history: History[Parts], judged: LabelledWindow) -> Estimate | None:
    rules = history.loop.use_case.policy.promotion
    if rules.measure == ROC_AUC:
        return None
    new = keep_new_rows(history, judged, trained_windows(history))
    answers = history.answers(judged.name, labelled=True)[new.kept]
    groups = number_groups(history.loop.use_case, new.window.frame)
    return estimate_measure(new.window.labels, answers, rules, groups)


def _compare_labelled(history: History[Parts], seen: RollbackEvidence) -> RollbackEvidence:
    """Production minus previous on all labelled rows since the promotion that are new to both."""
    previous, names = load_previous(history), _find_compared(history, seen.state)
    if previous is None or history.bundle is None:
        return seen
    earlier = [*trained_windows(history), *previous.facts.trained_windows]
    labels, ours, theirs, compared, frames = [], [], [], [], []
    for name in names:
        # A row that several windows hold counts once.
        new = keep_new_rows(history, history.read(name).labelled, dict.fromkeys(earlier))
        earlier.append(name)
        if new.kept.any():
            compared.append(name)
            labels.append(new.window.labels)
            frames.append(new.window.frame)
            ours.append(history.answers(name, labelled=True)[new.kept])
            theirs.append(score_frame(previous.scorer, new.window.frame))
    if not compared:
        return seen
    use_case, known = history.loop.use_case, np.concatenate(labels)
    policy, groups = use_case.policy, number_groups(use_case, *frames)
    delta = measure_delta(
        known,
        np.concatenate(ours),
        np.concatenate(theirs),
        policy.rollback.confidence,
        influence_of(policy.promotion),
        groups,
    )
    rarest = count_rarest(known, len(use_case.target.classes))
    return replace(seen, delta=delta, compared=tuple(compared), rarest=rarest)


def _find_compared(history: History[Parts], state: LoopState) -> tuple[str, ...]:
    """Windows whose labels came due after the promotion, and that neither version was trained on,
    oldest first."""
    live, before = history.production, history.previous
    if live is None or before is None or state.promoted_at is None:
        return ()
    known = history.place(before.trained_through)
    due_by_then = state.promoted_at - history.loop.use_case.labels.delay_windows
    after = max(due_by_then, -1 if known is None else known)
    return tuple(
        name
        for name in history.newer_than(live.trained_through)
        if position(history.names, name) > after and len(history.read(name).labelled.labels)
    )
