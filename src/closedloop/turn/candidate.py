"""From the labelled windows to one fitted candidate and the evidence about it.

Shared by live turns and replays: nothing is packaged, registered or decided here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from closedloop.bundle.files import Facts
from closedloop.bundle.frames import score_frame
from closedloop.bundle.scorer import Scorer
from closedloop.bundle.skops_model import PipelineScorer
from closedloop.decisions.candidates import choose_candidate
from closedloop.decisions.checks import Action
from closedloop.decisions.evidence import (
    Comparison,
    GoldenResult,
    PromotionEvidence,
)
from closedloop.decisions.repeated_rows import RepeatedRows
from closedloop.decisions.single_column import ColumnAuc
from closedloop.errors import ModelError
from closedloop.metrics.auc import estimate_auc
from closedloop.metrics.scores import check_golden
from closedloop.metrics.single_column import measure_single_columns
from closedloop.training.candidates import LabelledWindow, Split, split_windows
from closedloop.training.fits import Fit, Fits
from closedloop.training.samples import sample_windows
from closedloop.training.twins import Twins, compare_twins
from closedloop.turn.history import History
from closedloop.turn.judged_production import find_production, find_unchanged_recipe
from closedloop.turn.left_out import find_left_out, require_windows
from closedloop.turn.new_rows import keep_judging_rows, trained_windows
from closedloop.turn.ports import Parts
from closedloop.turn.realised import judge_labels
from closedloop.use_case.contract import UseCase
from closedloop.windows.contract_check import measure_statistics
from closedloop.windows.groups import number_groups
from closedloop.windows.prepare import prepare


@dataclass(frozen=True)
class Candidate:
    """What was chosen and why; `refitted` are the windows that `pipeline` was fitted on.

    `production` is what it was compared with, None where nothing could be.
    """

    split: Split
    twins: Twins
    chosen: Comparison
    scorer: PipelineScorer
    refitted: tuple[LabelledWindow, ...]
    quarantined: tuple[str, ...]
    production_error: str | None
    repeated: RepeatedRows | None = None
    production: Scorer | None = None

    @property
    def twin(self) -> PipelineScorer:
        """The chosen twin, which had not seen the evaluation rows."""
        return self.twins.scorers[self.chosen.recipe]

    @property
    def honest_predictions(self) -> np.ndarray:
        """The chosen twin's probabilities on the evaluation rows, which it had not seen."""
        return self.twins.predictions[self.chosen.recipe]

    @property
    def trained(self) -> pd.DataFrame:
        """The rows that `pipeline` was fitted on."""
        return pd.concat([window.frame for window in self.refitted], ignore_index=True)


def fit_candidate(history: History[Parts]) -> Candidate:
    """Fit the twins, choose one, and refit its recipe through the newest labels.

    The twins are scored on the same rows as production.
    """
    use_case, windows = history.loop.use_case, trainable_windows(history)
    require_windows(history, windows)
    split, repeated = _leave_repeated_out(history, choose_split(history, windows))
    split = replace(split, history=_sample(split.history, use_case))
    fits = Fits(history.loop.compute.fit_all)
    production_scorer, error = find_production(history, split, fits)
    production = (
        None
        if production_scorer is None
        else score_frame(production_scorer, split.evaluation.frame)
    )
    recipe = find_unchanged_recipe(history)
    twins = compare_twins(
        split,
        production,
        recipe,
        use_case,
        fits,
        history.bundle.facts.threshold if history.bundle else None,
    )
    chosen = choose_candidate(twins.comparisons, use_case.policy)
    if chosen is None:
        raise ModelError(
            where="training",
            wanted="at least one recipe",
            got="none",
            then="name recipes under [training]",
        )
    suspect = _quarantined_now(history, split, production)
    quarantined = tuple(
        name for name in history.due if name in suspect or name in history.quarantined()
    )
    trusted = tuple(window for window in windows if window.name not in quarantined)
    refitted = _sample(trusted, use_case)
    (scorer,) = fits.ask(Fit(chosen.recipe, refitted, use_case))
    return Candidate(
        split, twins, chosen, scorer, refitted, quarantined, error, repeated, production_scorer
    )


def _sample(windows: tuple[LabelledWindow, ...], use_case: UseCase) -> tuple[LabelledWindow, ...]:
    """The windows, with as many rows together as `[compute] memory` has room for."""
    most = use_case.compute.training_rows(len(use_case.columns))
    return sample_windows(windows, most, use_case.training.seed)


def _leave_repeated_out(history: History[Parts], split: Split) -> tuple[Split, RepeatedRows | None]:
    """Evaluation rows that neither a twin nor production was trained on, and how many were.

    Counted in the window with most of them. A held-out part shares no row with the rest of its
    window.
    """
    if split.held_out:
        return split, None
    earlier = [window.name for window in split.history]
    earlier += [name for name in trained_windows(history) if name not in earlier]
    found = []
    for window in split.judges:
        found.append(keep_judging_rows(history, window, earlier))
        earlier.append(window.name)
    repeated = [new.repeated for new in found if new.repeated is not None]
    most = max(repeated, key=lambda each: each.rows / each.of, default=None)
    return replace(split, judges=tuple(new.window for new in found)), most


def choose_split(history: History[Parts], windows: tuple[LabelledWindow, ...]) -> Split:
    """The newest windows judge, of several only those that production was not trained on."""
    live = history.production
    known_through = history.place(live.trained_through) if live else None
    return split_windows(windows, history.loop.use_case, known_through)


def trainable_windows(history: History[Parts]) -> tuple[LabelledWindow, ...]:
    """Labelled windows whose labels are due, that keep the contract and are not quarantined.

    The newest may be: on it the twins are scored, while nobody decided on it for good.
    """
    kept_out = history.quarantined() - (set(history.due[-1:]) - history.settled_out)
    reads = (history.read(name) for name in history.due if name not in kept_out)
    kept = (read.labelled for read in reads if not read.violations)
    return tuple(window for window in kept if len(window.labels))


def _quarantined_now(
    history: History[Parts], split: Split, production: np.ndarray | None
) -> set[str]:
    """The newest evaluation window, if it is to be quarantined."""
    if production is None or split.held_out:
        return set()
    newest, use_case = split.judges[-1], history.loop.use_case
    realised = estimate_auc(
        newest.labels,
        production[-len(newest.labels) :],
        use_case.policy.promotion.confidence,
        number_groups(use_case, newest.frame),
    )
    if realised is None:
        return set()
    verdict = judge_labels(history, newest, realised)
    return {newest.name} if verdict.action is Action.QUARANTINE else set()


def describe_candidate(history: History[Parts], candidate: Candidate) -> Facts:
    """The facts of the candidate for its bundle."""
    use_case, chosen = history.loop.use_case, candidate.chosen
    statistics = measure_statistics(candidate.trained, use_case)
    return Facts(
        name=use_case.name,
        key=history.promotion_key,
        recipe=chosen.recipe,
        classes=use_case.target.classes,
        trained_windows=tuple(window.name for window in candidate.refitted),
        evaluation_window=chosen.window,
        val_auc=chosen.candidate.val_auc,
        statistics=statistics,
        use_case=use_case.stored_content,
        rows=sum(len(window.labels) for window in candidate.refitted),
        data_digest="-".join(window.digest[:12] for window in candidate.refitted),
        val_auc_error=chosen.candidate.val_auc_error,
        measured=chosen.candidate.measured,
        threshold=chosen.threshold,
    )


def make_evidence(
    history: History[Parts],
    candidate: Candidate,
    scorer: Scorer,
    packaging_difference: float,
    *,
    served_by: str = "",
    served_reason: str = "",
) -> PromotionEvidence:
    """All that the decision looks at, except the version's number.

    `scorer` answers the golden cases.
    """
    live = history.production
    return PromotionEvidence(
        window=history.read(history.window).facts,
        version=None,
        production=live.version if live else None,
        comparison=candidate.chosen,
        packaging_difference=packaging_difference,
        golden=_check_golden(history, scorer),
        quarantined=candidate.quarantined,
        left_out=find_left_out(history, [window.name for window in candidate.refitted]),
        learnt_rows=_count_learnt(history, candidate.refitted),
        production_error=candidate.production_error,
        served_by=served_by,
        served_reason=served_reason,
        new_windows=_new_windows(history, candidate),
        expected_auc=live.val_auc if live else None,
        expected_auc_error=live.val_auc_error if live else None,
        expected=live.measured if live else None,
        repeated=candidate.repeated,
        single_columns=_measure_single_columns(history, candidate),
    )


def _count_learnt(
    history: History[Parts], refitted: tuple[LabelledWindow, ...]
) -> tuple[int, int] | None:
    """The rows learned from, and the labelled rows of these windows; None where they are equal."""
    learnt = sum(len(window.labels) for window in refitted)
    labelled = sum(history.read(window.name).facts.labelled_rows for window in refitted)
    return (learnt, labelled) if learnt < labelled else None


def _measure_single_columns(history: History[Parts], candidate: Candidate) -> tuple[ColumnAuc, ...]:
    """The AUC of each column alone, on all labelled rows there are; of a first model only."""
    if history.production is not None:
        return ()
    windows = (*candidate.split.history, candidate.split.evaluation)
    frame = pd.concat([window.frame for window in windows], ignore_index=True)
    labels = np.concatenate([window.labels for window in windows])
    return measure_single_columns(frame, labels, history.loop.use_case)


def _new_windows(history: History[Parts], candidate: Candidate) -> tuple[str, ...] | None:
    """Windows that the candidate learnt from and production does not know, by name and content.

    None without a production that loads.
    """
    if history.bundle is None:
        return None
    facts = history.bundle.facts
    known = facts.digests
    return tuple(
        window.name
        for window in candidate.refitted
        if window.name not in facts.trained_windows
        or (known and known[window.name] != window.digest[:12])
    )


def _check_golden(history: History[Parts], scorer: Scorer) -> tuple[GoldenResult, ...]:
    use_case = history.loop.use_case
    if not use_case.golden:
        return ()
    rows = prepare(pd.DataFrame([case.row for case in use_case.golden]), use_case)
    return check_golden(use_case.golden, score_frame(scorer, rows), use_case.target.classes)
