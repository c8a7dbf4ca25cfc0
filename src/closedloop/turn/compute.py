"""The costly steps of a turn. Each depends only on its arguments, so that a replay may cache it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from joblib import cpu_count

from closedloop.bundle.skops_model import PipelineScorer
from closedloop.decisions.drift_report import DriftReport
from closedloop.decisions.evidence import Estimate, Violation, Window
from closedloop.training.candidates import LabelledWindow, fit_recipe, labelled_rows, learnt_windows
from closedloop.training.fits import Fit
from closedloop.training.learners import THREADS
from closedloop.training.samples import sample_windows
from closedloop.use_case.contract import UseCase
from closedloop.windows.contract_check import MAX_UNKNOWN_LABELS, judge_contract
from closedloop.windows.contract_counts import ContractCounts
from closedloop.windows.large_window import count_and_sample
from closedloop.windows.repeated_rows import RowMarks, mark_rows
from closedloop.windows.sources import UnreadableWindow, WindowSource
from closedloop.windows.unknown_labels import tell_left_out

# How often a calibration is resampled for the width of its band: with 20, 5,000 rows of two classes
# take about 40 ms.
_DRAWS = 20


@dataclass(frozen=True)
class ReadWindow:
    """A window as read: its facts, its rows, its violations of the contract, and notes on them.

    `unnamed_columns` are those that loop.toml does not name. `counts` are of all rows, where
    `prepared` may be a sample of them; None of a window that cannot be read.
    """

    facts: Window
    prepared: pd.DataFrame
    violations: tuple[Violation, ...]
    labelled: LabelledWindow
    notes: tuple[str, ...] = ()
    unnamed_columns: tuple[str, ...] = ()
    counts: ContractCounts | None = None


class Compute:
    """Reads, fits, predicts and measures; caches nothing.

    `at_once` is how many fits it does at the same time: each of them holds its rows as numbers.
    """

    at_once = 4

    def read_window(
        self,
        source: WindowSource,
        name: str,
        index: int,
        use_case: UseCase,
        statistics: Mapping[str, Any] | None,
        not_yet: frozenset[str] = frozenset(),
    ) -> ReadWindow:
        """Read, prepare and check one window.

        `statistics` are those of production's training rows, None without production; `not_yet`
        are the columns that came after this window. A window that is there but cannot be read
        breaks the contract and has no rows.
        """
        try:
            found, damage = count_and_sample(source, name, use_case), None
        except UnreadableWindow as error:
            found = count_and_sample(_Nothing(), name, use_case)
            damage = Violation("(window)", "file", error.wanted, error.got)
        violations = (
            judge_contract(found.counts, found.prepared, statistics, not_yet)
            if damage is None
            else (damage,)
        )
        per_class = tuple(zip(use_case.target.classes, found.labels.tolist(), strict=True))
        labelled_count, content = int(found.labels.sum()), found.digest
        return ReadWindow(
            Window(name, index, found.counts.rows, labelled_count, per_class, content),
            found.prepared,
            violations,
            labelled_rows(name, index, found.prepared, content, use_case),
            (*found.notes, *_tell_unknown_labels(found.counts)),
            _find_unnamed(found.names, use_case),
            found.counts if damage is None else None,
        )

    def mark_rows(self, window: LabelledWindow, use_case: UseCase) -> RowMarks:
        """As `windows.repeated_rows.mark_rows`."""
        return mark_rows(window.frame, window.labels, use_case)

    def fit(
        self, recipe: str, windows: tuple[LabelledWindow, ...], use_case: UseCase
    ) -> PipelineScorer:
        """As `fit_recipe`."""
        return fit_recipe(recipe, windows, use_case)

    def fit_all(self, fits: Sequence[Fit]) -> list[PipelineScorer]:
        """As `fit` for each, several at once, which share the processors and the memory.

        Estimators of the user's own are fitted alone: they may change what other fits rely on.
        """

        def fit_one(fit: Fit, threads: int) -> PipelineScorer:
            THREADS.set(threads)
            return self.fit(fit.recipe, fit.windows, fit.use_case)

        processors, known = cpu_count(), [fit for fit in fits if not fit.own_code]
        room = min((_count_beside(fit) for fit in known), default=0)
        beside = min(self.at_once, processors, len(known), room)
        if beside < 2:
            return [self.fit(fit.recipe, fit.windows, fit.use_case) for fit in fits]
        with ThreadPoolExecutor(beside) as pool:
            threads = [processors // beside] * len(known)
            done = dict(zip(map(id, known), pool.map(fit_one, known, threads), strict=True))
        return [
            done.get(id(fit)) or self.fit(fit.recipe, fit.windows, fit.use_case) for fit in fits
        ]

    def fit_small(
        self, recipe: str, windows: tuple[LabelledWindow, ...], rows: int, use_case: UseCase
    ) -> PipelineScorer:
        """As `fit_recipe`, on about `rows` rows of the windows (`training.samples`)."""
        learnt = learnt_windows(recipe, windows)
        sample = sample_windows(learnt, rows, use_case.training.seed)
        return fit_recipe(recipe, sample, use_case)

    def measure_drift(
        self, reference: pd.DataFrame, current: pd.DataFrame, **options: Any
    ) -> tuple[DriftReport, Callable[[], str | None]]:
        """As `metrics.drift.measure_drift`."""
        from closedloop.metrics.drift import measure_drift

        return measure_drift(reference, current, **options)

    def estimate_without_labels(
        self, labels: np.ndarray, seen: np.ndarray, unseen: np.ndarray, confidence: float, seed: int
    ) -> Estimate | None:
        """A model's AUC on rows without labels; None where unknown.

        `unseen` (m, k) are its probabilities there, `seen` (n, k) those on labelled rows that are
        new to it. Errors as in `metrics.without_labels`.
        """
        from closedloop.metrics.calibration import fit_calibration
        from closedloop.metrics.without_labels import estimate_auc_without_labels

        calibration = fit_calibration(labels, seen, seed, _DRAWS)
        return (
            None
            if calibration is None
            else estimate_auc_without_labels(unseen, calibration, confidence, seed)
        )


def _count_beside(fit: Fit) -> int:
    """How many such fits have room for their matrices where the largest one may be."""
    frame, use_case = fit.windows[-1].frame, fit.use_case
    categories = sum(frame[name].nunique() for name in use_case.categorical)
    rows = sum(len(window.labels) for window in fit.windows)
    values = max(1, rows * (len(use_case.numeric) + categories))
    return max(1, use_case.compute.values // values)


class _Nothing(WindowSource):
    """A source whose windows have no rows."""

    def windows(self) -> tuple[str, ...]:
        return ()

    def read(self, window: str) -> pd.DataFrame:
        return pd.DataFrame()


def _tell_unknown_labels(counts: ContractCounts) -> tuple[str, ...]:
    # A window with more of them breaks the contract, which says the same.
    few = counts.labels.share <= MAX_UNKNOWN_LABELS
    return tell_left_out(counts.labels, counts.use_case.target) if few else ()


def _find_unnamed(names: Sequence[str], use_case: UseCase) -> tuple[str, ...]:
    named = {*use_case.columns, use_case.key, use_case.group, use_case.target.column}
    return tuple(name for name in names if name not in named)
