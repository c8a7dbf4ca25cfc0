"""How models answer the next window, in the measure of the use case; more is better."""

from __future__ import annotations

from closedloop.backtest.figures import CONFIDENCE
from closedloop.bundle.frames import score_frame
from closedloop.bundle.loaded import LoadedVersion
from closedloop.decisions.deciding_measure import ROC_AUC
from closedloop.decisions.evidence import Estimate
from closedloop.decisions.policy import PromotionPolicy
from closedloop.metrics.auc import measure_auc, measure_delta
from closedloop.metrics.deciding_measure import estimate_measure, influence_of
from closedloop.training.candidates import LabelledWindow
from closedloop.use_case.contract import UseCase
from closedloop.windows.groups import number_groups


def measure_answers(
    model: LoadedVersion, rows: LabelledWindow, rules: PromotionPolicy
) -> float | None:
    """What a model reaches; None where it cannot be measured."""
    if not len(rows.labels):
        return None
    answers = score_frame(model.scorer, rows.frame)
    if rules.measure == ROC_AUC:
        return measure_auc(rows.labels, answers)
    found = estimate_measure(rows.labels, answers, rules)
    return None if found is None else found.value


def measure_advantage(
    candidate: LoadedVersion, before: LoadedVersion, rows: LabelledWindow, use_case: UseCase
) -> Estimate | None:
    """A candidate minus the production that it met; None where it cannot be measured."""
    rules = use_case.policy.promotion
    # A broken window may lack its groups, and nobody learns from it.
    if not len(rows.labels) or use_case.group not in (None, *rows.frame):
        return None
    answers = [score_frame(model.scorer, rows.frame) for model in (candidate, before)]
    return measure_delta(
        rows.labels,
        answers[0],
        answers[1],
        CONFIDENCE,
        influence_of(rules),
        number_groups(use_case, rows.frame),
    )
