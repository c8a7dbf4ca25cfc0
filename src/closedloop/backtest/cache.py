"""The costly steps of many replays, each computed once: remembered in memory, and on disk for the
next run.

A result is found by its content: the rows, the recipe, what decides how it is fitted, the versions
of the libraries and the code that computes it. Probabilities and drift reports go to disk; a
pipeline whose answers are all there is not fitted again.

The disk belongs to `joblib.Memory`, which writes pickles, and a pickle can run code when it is
read. That is accepted here alone, because these files never travel: they lie in CLOSEDLOOP_HOME,
where whoever can write can change loop.toml as well. Models travel, so they are kept with skops.
"""

from __future__ import annotations

import hashlib
import json
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.backtest.digests import digest_code, digest_frame, library_versions
from closedloop.bundle.frames import unpack_frame
from closedloop.bundle.skops_model import PipelineScorer
from closedloop.decisions.drift_report import DriftReport
from closedloop.errors import StoreError
from closedloop.training.candidates import LabelledWindow
from closedloop.training.recipes import parse_recipe
from closedloop.turn.compute import Compute, ReadWindow
from closedloop.use_case.contract import UseCase
from closedloop.windows.contract_check import judge_contract
from closedloop.windows.repeated_rows import RowMarks
from closedloop.windows.sources import WindowSource

T = TypeVar("T")


class CachedCompute(Compute):
    """Computes as `Compute` does, without what no decision reads, and remembers the results.

    Left out are Evidently's page and the AUC without labels. Safe across threads, and across
    processes that share `folder`; without a folder nothing outlives the object. A damaged file is
    computed again. `fits` counts the pipelines that were fitted. Raises StoreError when the folder
    cannot be written.
    """

    at_once = 1  # a backtest runs several policies at once

    def __init__(self, folder: Path | None = None) -> None:
        self.fits = 0
        self._on_disk = _open_cache(folder)
        self._lock = threading.Lock()
        self._locks: dict[Any, threading.Lock] = {}
        self._results: dict[Any, Any] = {}
        self._digests: dict[Any, tuple[weakref.ref[pd.DataFrame], str]] = {}

    def read_window(
        self,
        source: WindowSource,
        name: str,
        index: int,
        use_case: UseCase,
        statistics: Mapping[str, Any] | None,
        not_yet: frozenset[str] = frozenset(),
    ) -> ReadWindow:
        """As `Compute`; rows are identified by the source's `mark`, else by the source."""
        mark = getattr(source, "mark", None)
        rows = id(source) if mark is None else mark(name)
        place = ("read", rows, name, index, not_yet, use_case.group, use_case.compute)

        # The source and the statistics stay in the results, so that no other object gets their id.
        def read() -> tuple[ReadWindow, object]:
            window = super(CachedCompute, self).read_window(
                source, name, index, use_case, None, not_yet
            )
            return window, source

        window, _ = self.once(place, read)
        if statistics is None:
            return window

        def check() -> tuple[ReadWindow, object]:
            counts, violations = window.counts, window.violations
            if counts is not None:
                violations = judge_contract(counts, window.prepared, statistics, not_yet)
            return replace(window, violations=violations), statistics

        return self.once((*place, id(statistics)), check)[0]

    def mark_rows(self, window: LabelledWindow, use_case: UseCase) -> RowMarks:
        """As `Compute`, once for the same rows."""
        rows = ("marks", window.name, window.digest, len(window.labels), tuple(use_case.columns))
        return self.once(rows, partial(super().mark_rows, window, use_case))

    def fit(
        self, recipe: str, windows: tuple[LabelledWindow, ...], use_case: UseCase
    ) -> CachedPipeline:
        """A pipeline with cached answers; fitted now, unless an earlier run has fitted it."""
        key = self._fit_key(recipe, windows, use_case)
        fit = partial(super().fit, recipe, windows, use_case)
        return self._pipeline(key, fit, use_case)

    def fit_small(
        self, recipe: str, windows: tuple[LabelledWindow, ...], rows: int, use_case: UseCase
    ) -> CachedPipeline:
        """As `fit`."""
        key = _key(
            "few", rows, self._fit_key(recipe, windows, use_case), digest_code("training/samples")
        )
        fit = partial(super().fit_small, recipe, windows, rows, use_case)
        return self._pipeline(key, fit, use_case)

    def _pipeline(
        self, key: str, make: Callable[[], PipelineScorer], use_case: UseCase
    ) -> CachedPipeline:
        def fit() -> Any:
            fitted = make()
            with self._lock:
                self.fits += 1
            self._on_disk(key, lambda: "fitted")
            return fitted.pipeline

        # A fit that fails must fail in the turn that asks for it, not when its answers are needed.
        if not self._on_disk.check_call_in_cache(key, fit):
            self.once(key, fit)
        return CachedPipeline(self, key, fit, use_case)

    def _fit_key(self, recipe: str, windows: tuple[LabelledWindow, ...], use_case: UseCase) -> str:
        rows = [
            [
                self._digest(window.frame, use_case),
                hashlib.sha256(window.labels.tobytes()).hexdigest(),
            ]
            for window in windows
        ]
        weighting: list[Any] = []
        if parse_recipe(recipe)[1] != "all":
            newest = max(window.index for window in windows)
            weighting = [
                use_case.training.half_life_windows,
                [newest - window.index for window in windows],
            ]
        return _key(
            "fit",
            recipe,
            repr(use_case.recipes.get(parse_recipe(recipe)[0])),
            rows,
            weighting,
            use_case.numeric,
            use_case.categorical,
            use_case.target.classes,
            use_case.training.seed,
            library_versions(),
            digest_code(
                "training/recipes",
                "training/learners",
                "training/own_estimator",
                "training/candidates",
            ),
        )

    def answer(
        self, scorer: CachedPipeline, numbers: NDArray[Any], texts: NDArray[Any]
    ) -> NDArray[np.float64]:
        """The probabilities of a pipeline that `fit` returned, computed once for the same rows."""
        rows = unpack_frame(numbers, texts, scorer.numeric, scorer.categorical)
        key = _key("ask", scorer.key, digest_frame(rows))

        def ask() -> NDArray[np.float64]:
            return PipelineScorer.probabilities(scorer, numbers, texts)

        return self.once(key, lambda: cast(np.ndarray, self._on_disk(key, ask)))

    def measure_drift(
        self, reference: pd.DataFrame, current: pd.DataFrame, **options: Any
    ) -> tuple[DriftReport, Callable[[], None]]:
        """As `Compute`, without a page. The names in the report are those of this call."""
        names = {"reference": options["reference_name"], "current": options["current_name"]}
        rules = asdict(options["policy"])
        rules.pop("reference")  # it has chosen the rows, which count by what is in them
        described = {
            **options,
            "policy": rules,
            "ignore_nulls": sorted(options["ignore_nulls"]),
        }
        for without_effect in ("reference_name", "current_name", "max_drift_share"):
            described.pop(without_effect, None)
        key = _key(
            "drift",
            self._digest(reference),
            digest_frame(current),
            described,
            library_versions(),
            digest_code(
                "metrics/drift",
                "metrics/drift_comparisons",
                "metrics/drift_limits",
                "decisions/drift_report",
            ),
        )

        def measure() -> DriftReport:
            report, _ = super(CachedCompute, self).measure_drift(reference, current, **options)
            return report

        report = self.once(key, lambda: cast(DriftReport, self._on_disk(key, measure)))
        return replace(report, **names), lambda: None

    def estimate_without_labels(self, *_: Any, **__: Any) -> None:
        """Always unknown: no decision reads it."""

    def once(self, key: Any, compute: Callable[[], T]) -> T:
        """What `compute` returned the first time it was called for this key."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._results:
                self._results[key] = compute()
            return cast(T, self._results[key])

    def _digest(self, frame: pd.DataFrame, use_case: UseCase | None = None) -> str:
        """Of a frame, or of its features.

        A frame that is gone is not taken for another that got its id; nor is it kept alive, for the
        reference of a turn may be the rows of any window.
        """
        columns = None if use_case is None else tuple(use_case.columns)
        known = self._digests.get((id(frame), columns))
        if known is None or known[0]() is not frame:
            digest = digest_frame(frame if columns is None else frame[list(columns)])
            known = self._digests[id(frame), columns] = weakref.ref(frame), digest
        return known[1]


class CachedPipeline(PipelineScorer):
    """A pipeline known by what it is fitted on; fitted when an answer is not in the cache."""

    def __init__(
        self, cache: CachedCompute, key: str, fit: Callable[[], Any], use_case: UseCase
    ) -> None:
        super().__init__(None, use_case.numeric, use_case.categorical)
        self.key = key
        self._cache, self._fit = cache, fit

    @property
    def pipeline(self) -> Any:
        """The fitted pipeline."""
        return self._cache.once(self.key, self._fit)

    def probabilities(
        self, numbers: NDArray[np.floating[Any]], texts: NDArray[Any], /
    ) -> NDArray[np.float64]:
        """As `Scorer`, from the cache when it holds the answers."""
        return self._cache.answer(self, numbers, texts)


def _open_cache(folder: Path | None) -> Any:
    """`_compute`, as joblib remembers it in `folder`; as it is without a folder."""
    try:
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return joblib.Memory(folder, verbose=0).cache(_compute, ignore=["compute"])
    except OSError as error:
        raise StoreError(
            where=f"backtest cache {folder}",
            wanted="a folder that this user can write",
            got=error.strerror or str(error),
            then="delete it (it only saves time) or free disk space, and run again",
        ) from error


def _compute(key: str, compute: Callable[[], T]) -> T:
    """What joblib remembers, by `key` alone: the key holds all that decides the result."""
    return compute()


def _key(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
