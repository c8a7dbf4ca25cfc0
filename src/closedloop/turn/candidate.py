"""From the labelled windows to one fitted candidate and the evidence about it: what a live turn and
a replay of history share.

Nothing is packaged, registered or decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from closedloop.bundle.files import Facts
from closedloop.decisions.evidence import Comparison, GoldenResult, PromotionEvidence
from closedloop.decisions.promotion import choose_candidate
from closedloop.errors import ModelError
from closedloop.metrics.auc import estimate_auc
from closedloop.metrics.scores import check_golden
from closedloop.training.candidates import (
    LabelledWindow,
    Split,
    Twins,
    compare_twins,
    split_windows,
)
from closedloop.turn.history import History
from closedloop.turn.observe import PREDICTION, TARGET, watched_frame
from closedloop.turn.ports import Parts
from closedloop.turn.realised import suspect
from closedloop.windows.contract_check import measure_statistics, prepare

REFERENCE_ROWS = 20_000


@dataclass(frozen=True)
class Candidate:
    """What was chosen and why: `refitted` are the windows that the pipeline to be shipped was
    fitted on."""

    split: Split
    twins: Twins
    chosen: Comparison
    pipeline: Any
    refitted: tuple[LabelledWindow, ...]
    quarantined: tuple[str, ...]
    production_error: str | None

    @property
    def honest_predictions(self) -> np.ndarray:
        """The chosen twin's probabilities on the evaluation rows, which it had not seen."""
        return self.twins.predictions[self.chosen.recipe]

    @property
    def trained(self) -> pd.DataFrame:
        """The rows that the pipeline to be shipped was fitted on."""
        return pd.concat([one.frame for one in self.refitted], ignore_index=True)


def fit_candidate(history: History[Parts]) -> Candidate:
    """Twins on the same rows as production, the choice between them, and the refit of the chosen
    recipe through the newest labels."""
    use_case, windows = history.loop.use_case, _trainable(history)
    split = split_windows(windows, use_case)
    production, error = _ask_production(history, split)
    recipe = history.production.recipe if history.production else None
    twins = compare_twins(split, production, recipe, use_case, history.loop.compute)
    chosen = choose_candidate(twins.comparisons, use_case.policy)
    if chosen is None:
        raise ModelError(
            where="training",
            wanted="at least one recipe",
            got="none",
            then="name recipes under [training]",
        )
    quarantined = _quarantined_now(history, split, production)
    refitted = tuple(one for one in windows if one.name not in quarantined)
    pipeline = history.loop.compute.fit(chosen.recipe, refitted, use_case)
    return Candidate(split, twins, chosen, pipeline, refitted, tuple(sorted(quarantined)), error)


def _trainable(history: History[Parts]) -> tuple[LabelledWindow, ...]:
    """Labelled windows whose labels are due, that keep the contract and are not quarantined."""
    kept_out = history.quarantined() - set(history.due[-1:])
    reads = (history.read(name) for name in history.due if name not in kept_out)
    return tuple(one.labelled for one in reads if not one.violations and len(one.labelled.labels))


def _ask_production(history: History[Parts], split: Split) -> tuple[np.ndarray | None, str | None]:
    """Production's probabilities on the evaluation rows, or why there are none.

    When production has been trained on those rows, its recipe is refitted without them: two recipes
    are then compared, both on rows that are new to them.
    """
    live, use_case = history.production, history.loop.use_case
    if live is None:
        return None, None
    fitted_through = history.place(live.trained_through)
    if fitted_through is not None and split.evaluation.index <= fitted_through:
        twin = history.loop.compute.fit(live.recipe, split.history, use_case)
        return history.loop.compute.probabilities(twin, split.evaluation.frame, use_case), None
    if history.bundle is None:
        return None, history.production_error
    return history.bundle.probabilities(split.evaluation.frame), None


def _quarantined_now(
    history: History[Parts], split: Split, production: np.ndarray | None
) -> set[str]:
    """The evaluation window, when production does so badly on it that its labels are suspect."""
    if production is None or split.held_out:
        return set()
    realised = estimate_auc(
        split.evaluation.labels, production, history.loop.use_case.policy.promotion.confidence
    )
    bad = realised is not None and suspect(history, split.evaluation, realised)
    return {split.evaluation.name} if bad else set()


def describe_candidate(history: History[Parts], candidate: Candidate) -> Facts:
    """What the candidate is, as its bundle will say it."""
    use_case, chosen = history.loop.use_case, candidate.chosen
    statistics = measure_statistics(candidate.trained, use_case)
    return Facts(
        name=use_case.name,
        key=history.key("promotion"),
        recipe=chosen.recipe,
        classes=use_case.target.classes,
        trained_windows=tuple(one.name for one in candidate.refitted),
        evaluation_window=chosen.window,
        val_auc=chosen.candidate.val_auc,
        statistics=statistics,
        use_case={name: value for name, value in use_case.content.items() if name != "golden"},
        rows=sum(len(one.labels) for one in candidate.refitted),
        data_digest="-".join(one.digest[:12] for one in candidate.refitted),
    )


def make_evidence(
    history: History[Parts],
    candidate: Candidate,
    ask: Callable[[pd.DataFrame], np.ndarray],
    packaging_difference: float,
    *,
    served_by: str = "",
    served_reason: str = "",
) -> PromotionEvidence:
    """All that the decision looks at, but for the version's number; `ask` is the model that would
    serve, for the golden cases."""
    return PromotionEvidence(
        window=history.read(history.window).facts,
        version=None,
        production=history.production.version if history.production else None,
        comparison=candidate.chosen,
        packaging_difference=packaging_difference,
        golden=_check_golden(history, ask),
        quarantined=candidate.quarantined,
        production_error=candidate.production_error,
        served_by=served_by,
        served_reason=served_reason,
    )


def _check_golden(
    history: History[Parts], ask: Callable[[pd.DataFrame], np.ndarray]
) -> tuple[GoldenResult, ...]:
    use_case = history.loop.use_case
    if not use_case.golden:
        return ()
    rows = prepare(pd.DataFrame([case.row for case in use_case.golden]), use_case)
    return check_golden(use_case.golden, ask(rows), use_case.target.classes)


def make_reference(history: History[Parts], candidate: Candidate) -> pd.DataFrame:
    """A bounded sample of the training rows. Predictions are the twin's on the evaluation rows,
    which it had not seen: what a model says of its own training rows is too sure of itself to be
    held against what it says of new ones."""
    parts, judged = [], candidate.split.evaluation
    for one in candidate.refitted:
        frame = watched_frame(one.frame, None, history)
        if one.name == judged.name:
            seen = watched_frame(judged.frame, candidate.honest_predictions, history)
            frame.loc[frame.index.isin(seen.index), PREDICTION] = seen[PREDICTION].to_numpy()
        parts.append(frame)
    whole = pd.concat(parts, ignore_index=True)
    if len(whole) > REFERENCE_ROWS:
        whole = whole.sample(
            REFERENCE_ROWS, random_state=history.loop.use_case.training.seed
        ).reset_index(drop=True)
    return whole.drop(columns=[TARGET]) if whole[TARGET].isna().all() else whole
