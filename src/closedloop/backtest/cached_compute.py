"""The costly steps of many replays, each made once: kept in memory and, for the next run, on disk.

What is kept is found by its content: the rows, the recipe, what decides how it is fitted, the
versions of the libraries and the code that computes it. On disk are probabilities and drift
reports, as plain numbers and JSON: nothing that runs when it is read. A pipeline whose answers are
all there is not fitted again.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd

from closedloop.backtest.cache_file import Kept
from closedloop.decisions.evidence import ColumnDrift, DriftReport
from closedloop.training.candidates import LabelledWindow
from closedloop.training.recipes import parse_recipe
from closedloop.turn.compute import Compute, ReadWindow
from closedloop.use_case.contract import UseCase
from closedloop.windows.sources import WindowSource

T = TypeVar("T")


@dataclass(frozen=True)
class LazyPipeline:
    """A pipeline by what it was fitted on; `make` fits it when somebody has to ask it."""

    key: str
    make: Callable[[], Any]


class CachedCompute(Compute):
    """Computes as `Compute` does, without what nothing decides by (Evidently's page, the AUC
    without labels), and remembers.

    Safe across threads; `fits` counts what was really fitted.
    """

    def __init__(self, kept: Kept | None = None) -> None:
        self.fits = 0
        self._kept = kept or Kept()
        self._lock = threading.Lock()
        self._slots: dict[Any, threading.Lock] = {}
        self._made: dict[Any, Any] = {}
        self._digests: dict[Any, tuple[pd.DataFrame, str]] = {}

    def read_window(
        self,
        source: WindowSource,
        name: str,
        index: int,
        use_case: UseCase,
        statistics: Mapping[str, Any] | None,
    ) -> ReadWindow:
        """As `Compute`; the rows are known by the source's `mark`, where it has one, and by its
        identity where not."""
        mark = getattr(source, "mark", None)
        place = ("read", id(source) if mark is None else mark(name), name, index)
        # The source and the statistics are kept with what was read, so that no other object takes
        # their identities.
        first, _ = self._once(
            place,
            lambda: (
                super(CachedCompute, self).read_window(source, name, index, use_case, None),
                source,
            ),
        )
        if statistics is None:
            return first
        checked, _ = self._once(
            (*place, id(statistics)),
            lambda: (
                replace(first, violations=self._check(source, first, use_case, statistics)),
                statistics,
            ),
        )
        return checked

    def _check(
        self,
        source: WindowSource,
        read: ReadWindow,
        use_case: UseCase,
        statistics: Mapping[str, Any],
    ) -> Any:
        from closedloop.windows.contract_check import check_contract

        return check_contract(source.read(read.facts.name), read.prepared, use_case, statistics)

    def fit(
        self, recipe: str, windows: tuple[LabelledWindow, ...], use_case: UseCase
    ) -> LazyPipeline:
        """A pipeline that `probabilities` can ask, fitted now unless it was fitted before."""
        rows = [
            [self._digest(one.frame, use_case), hashlib.sha256(one.labels.tobytes()).hexdigest()]
            for one in windows
        ]
        weighing: list[Any] = []
        if parse_recipe(recipe)[1] == "recent":
            newest = max(one.index for one in windows)
            weighing = [
                use_case.training.half_life_windows,
                [newest - one.index for one in windows],
            ]
        key = _key(
            "fit",
            recipe,
            rows,
            weighing,
            use_case.numeric,
            use_case.categorical,
            use_case.target.classes,
            use_case.training.seed,
            _library_versions(),
            _code("training/recipes", "training/candidates"),
        )

        def make() -> Any:
            pipeline = super(CachedCompute, self).fit(recipe, windows, use_case)
            with self._lock:
                self.fits += 1
            self._kept.add(key, b"fitted")
            return pipeline

        fitted = LazyPipeline(key, lambda: self._once(key, make))
        if self._kept.read(key) is None:
            fitted.make()
        return fitted

    def probabilities(
        self, fitted: LazyPipeline, frame: pd.DataFrame, use_case: UseCase
    ) -> np.ndarray:
        """As `Compute`, of what `fit` gave."""
        key = _key("ask", fitted.key, self._digest(frame, use_case))

        def make() -> np.ndarray:
            known = self._kept.read(key)
            if known is not None:
                return cast(np.ndarray, np.load(io.BytesIO(known), allow_pickle=False))
            answers = super(CachedCompute, self).probabilities(fitted.make(), frame, use_case)
            content = io.BytesIO()
            np.save(content, answers, allow_pickle=False)
            self._kept.add(key, content.getvalue())
            return answers

        return self._once(key, make)

    def measure_drift(
        self, reference: pd.DataFrame, current: pd.DataFrame, **named: Any
    ) -> tuple[DriftReport, str | None]:
        """The same report; never a page. The names in it are those that were asked for."""
        names = {"reference": named["reference_name"], "current": named["current_name"]}
        asked = {
            name: value
            for name, value in named.items()
            if name not in ("reference_name", "current_name", "max_drift_share")
        }
        described = {
            **asked,
            "policy": asdict(named["policy"]),
            "ignore_nulls": sorted(named["ignore_nulls"]),
        }
        key = _key(
            "drift",
            self._digest(reference),
            digest_frame(current),
            described,
            _library_versions(),
            _code("metrics/drift"),
        )

        def make() -> DriftReport:
            known = self._kept.read(key)
            if known is not None:
                content = json.loads(known)
                return DriftReport(
                    **{
                        **content,
                        "columns": tuple(ColumnDrift(**one) for one in content["columns"]),
                    }
                )
            report, _ = super(CachedCompute, self).measure_drift(
                reference, current, **named, with_html=False
            )
            self._kept.add(key, json.dumps(asdict(report)).encode())
            return report

        return replace(self._once(key, make), **names), None

    def estimate_without_labels(self, *_: Any, **__: Any) -> None:
        """Not known: a replay asks what decisions were worth, and none is made by it."""

    def _once(self, key: Any, make: Callable[[], T]) -> T:
        with self._lock:
            slot = self._slots.setdefault(key, threading.Lock())
        with slot:
            if key not in self._made:
                self._made[key] = make()
            return cast(T, self._made[key])

    def _digest(self, frame: pd.DataFrame, use_case: UseCase | None = None) -> str:
        """Of a frame, or of its features; the frame is kept, so that no other one takes its
        identity."""
        columns = None if use_case is None else tuple(use_case.columns)
        known = self._digests.get((id(frame), columns))
        if known is None:
            digest = digest_frame(frame if columns is None else frame[list(columns)])
            known = self._digests[id(frame), columns] = frame, digest
        return known[1]


def digest_frame(frame: pd.DataFrame) -> str:
    """sha256 over names and values of every column, in the order of the rows; the index plays no
    part."""
    content = hashlib.sha256(str(len(frame)).encode())
    for name in frame.columns:
        content.update(f"\n{name}\n".encode())
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column.dtype):
            content.update(column.to_numpy(dtype="<f8", na_value=np.nan).tobytes())
        else:
            codes, distinct = pd.factorize(column, use_na_sentinel=True)
            content.update(
                json.dumps([repr(value) for value in distinct]).encode()
                + codes.astype("<i8").tobytes()
            )
    return content.hexdigest()


def _key(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def _library_versions() -> tuple[str, ...]:
    return tuple(
        f"{name} {version(name)}"
        for name in ("numpy", "pandas", "scipy", "scikit-learn", "lightgbm", "evidently")
    )


@cache
def _code(*modules: str) -> str:
    """What computes it: a changed line makes a new result."""
    folder = Path(__file__).parents[1]
    return hashlib.sha256(
        b"\0".join(folder.joinpath(f"{name}.py").read_bytes() for name in modules)
    ).hexdigest()
