"""The newest labelled window as witness for those in quarantine: was the change real?"""

from __future__ import annotations

from closedloop.decisions.checks import Action, Decision
from closedloop.decisions.label_evidence import WitnessEvidence
from closedloop.decisions.quarantine import decide_release
from closedloop.turn.history import History
from closedloop.turn.ports import Parts
from closedloop.turn.realised import (
    Realised,
    count_earlier_labels,
    count_labels,
    measure_realised,
)


def hear_witness(history: History[Parts], realised: Realised) -> tuple[Decision, ...]:
    """Whether each window in quarantine is released, with the judged window as witness.

    Empty when nothing was judged, or when the judged window is itself suspect: then the next one
    decides. A window that production was trained on, or that cannot be scored, waits.
    """
    judged, bundle, quarantine = realised.judged, history.bundle, realised.quarantine
    if judged is None or bundle is None or realised.auc is None or quarantine is None:
        return ()
    if quarantine.action is Action.QUARANTINE:
        return ()
    classes, decided = len(history.loop.use_case.target.classes), []
    for name in history.due:
        waits = name in history.quarantined() - history.settled_out
        window = history.read(name).labelled if waits and name != judged.name else None
        if window is None or window.index > judged.index or not len(window.labels):
            continue
        if name in bundle.facts.trained_windows or history.read(name).violations:
            continue
        window, auc = measure_realised(history, window)
        if auc is None:
            continue
        evidence = WitnessEvidence(
            window=name,
            witness=judged.name,
            production=history.production.version if history.production else None,
            auc=auc,
            witness_auc=realised.auc,
            label_counts=count_labels(window, classes),
            witness_label_counts=count_labels(judged, classes),
            earlier_label_counts=count_earlier_labels(history, window),
        )
        decided.append(decide_release(evidence, history.loop.use_case.policy))
    return tuple(decided)
