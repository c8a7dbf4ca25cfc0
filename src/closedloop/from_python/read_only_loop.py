"""One use case for people who work in Python: they read, measure and compare, and move nothing.

What registers, moves or writes down a decision stays with the commands and the flows, which hold
the locks and leave a trace.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from closedloop.backtest.policies import DEFAULT
from closedloop.backtest.run import Backtest, open_past, run_backtest
from closedloop.bundle.scored_rows import score_rows
from closedloop.decisions.drift_report import ColumnDrift
from closedloop.decisions.evidence import Violation
from closedloop.errors import ModelError
from closedloop.from_python.model_comparison import Classifier, ModelComparison, compare_models
from closedloop.settings import Settings
from closedloop.storage.entry import Entry
from closedloop.storage.home import choose_umask, making_files
from closedloop.turn.history import History
from closedloop.turn.open import Loop, open_loop
from closedloop.turn.try_recipe import TriedRecipe, try_recipe
from closedloop.turn.window_drift import compare_watched, measure_window_drift, watched_frame
from closedloop.use_case.contract import UseCase
from closedloop.windows.contract_check import check_contract, refuse_incomplete
from closedloop.windows.large_window import sample_window
from closedloop.windows.prepare import prepare

P = ParamSpec("P")
T = TypeVar("T")


def open_read_only(path: Path | str, home: Path | str | None = None) -> ReadOnlyLoop:
    """As `closedloop.open_loop`."""
    settings = Settings.read(os.environ, **({} if home is None else {"home": home}))
    for name, value in settings.library_environment().items():
        if not name.startswith("PREFECT"):  # this process may have a Prefect of its own
            os.environ.setdefault(name, value)
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    return ReadOnlyLoop(open_loop(path, settings=settings))


def _privately(
    method: Callable[Concatenate[ReadOnlyLoop, P], T],
) -> Callable[Concatenate[ReadOnlyLoop, P], T]:
    """What the method puts under CLOSEDLOOP_HOME (empty tables, caches) no other user may read."""

    @wraps(method)
    def call(self: ReadOnlyLoop, /, *given: P.args, **named: P.kwargs) -> T:
        with making_files(choose_umask(self._loop.settings.home_folder)):
            return method(self, *given, **named)

    return call


class ReadOnlyLoop:
    """One use case: its windows, models and decisions. Made by `closedloop.open_loop`.

    No method registers a version, moves `production`, or writes a decision, an answer or a label.
    Windows are those of the source of loop.toml. Errors are those of `closedloop.errors`.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    @property
    def use_case(self) -> UseCase:
        """What loop.toml says: columns, target, policy and the rest."""
        return self._loop.use_case

    @property
    def features(self) -> list[str]:
        """The feature columns, in the order of loop.toml."""
        return list(self.use_case.columns)

    @property
    @_privately
    def production(self) -> int | None:
        """The version that is live; None before the first promotion."""
        return self._loop.registry.production()

    def windows(self) -> tuple[str, ...]:
        """The names of all windows, oldest first."""
        return self._loop.source.windows()

    @_privately
    def window(self, name: str | None = None) -> pd.DataFrame:
        """The rows of a window, by default the newest, as every model sees them.

        The features, then key and target, if they are there. Numbers are floats, categories and
        classes are texts; a label that is not there yet is None. Of a window that is larger than
        `memory` in [compute], a sample.
        """
        source = self._loop.source
        window = source.windows()[-1] if name is None else name
        return prepare(sample_window(source, window, self.use_case), self.use_case)

    @_privately
    def violations(self, window: str | None = None) -> tuple[Violation, ...]:
        """How a window breaks the contract; empty when it keeps it."""
        history = History(self._loop, window)
        return history.read(history.window).violations

    @_privately
    def drift(self, window: str | None = None, reference: str | None = None) -> pd.DataFrame:
        """A row for each watched column: how far a window is from a reference, and the limit.

        Without `reference` it is that of a turn, as `[policy.drift]` says, with production's
        predictions.
        With the name of a window it is the rows of that window, without predictions: a model is
        too sure of rows that it was trained on. `drifted` is null where nothing could be measured;
        its mean is the drift_share. Raises RegistryError without reference and production, and
        ModelError when production cannot be loaded.
        """
        history = History(self._loop, window)
        if reference is not None:
            names = (reference, history.window)
            before, now = (watched_frame(self.window(name), None, history) for name in names)
            report, _ = compare_watched(self._loop, before, now, names, limits_from_both=True)
        elif history.bundle is not None:
            read = history.read(history.window)
            report, _ = measure_window_drift(history, read)
        else:
            self._loop.registry.require_production()
            raise ModelError(
                where="drift",
                wanted="a production model, whose training rows are the reference",
                got=history.production_error or "none",
                then="name a window as the reference",
            )
        return _frame_of(report.columns)

    @_privately
    def compare(
        self, first: int | Classifier, second: int | Classifier, window: str | None = None
    ) -> ModelComparison:
        """Two models on the same labelled rows, each a version's number or a fitted classifier.

        The rows are those of one window, by default the newest whose labels are due. Of a
        classifier that you fitted only you know whether it has seen them. Raises SourceError for a
        window without labels, ModelError for a model that cannot be asked or a version that was
        trained on the window.
        """
        return compare_models(self._loop, first, second, window)

    @_privately
    def try_recipe(self, recipe: str, window: str | None = None) -> TriedRecipe:
        """What the gates would say of a recipe of loop.toml, or of a learner by name.

        As `closedloop try`: fitted and compared as a training would, and not registered.
        """
        return try_recipe(self._loop, recipe, window)

    @_privately
    def backtest(
        self,
        policies: Sequence[str] = DEFAULT,
        *,
        label_delay: int | None = None,
        first_windows: int = 3,
    ) -> Backtest:
        """Replay the windows under several policies, in memory, as `closedloop backtest` does.

        A policy is static, always, every-K, naive, loop, the name of a rival or the path of a TOML
        file. `label_delay` is the `delay_windows` of loop.toml unless given.
        """
        past = open_past(self._loop, delay=label_delay, first=first_windows)
        return run_backtest(past, policies)

    @_privately
    def decisions(self) -> pd.DataFrame:
        """A row for each decision of the journal, by its id, oldest first."""
        entries = self._loop.journal.history(self.use_case.name)
        frame = pd.DataFrame(
            [
                {
                    "id": entry.id,
                    "at": entry.at,
                    "window": entry.decision.window,
                    "kind": entry.decision.kind.value,
                    "action": entry.decision.action.value,
                    "version": entry.decision.version,
                    "production": entry.production,
                    "outcome": entry.outcome,
                    "origin": entry.origin.value,
                    "reason": entry.decision.reason,
                }
                for entry in entries
            ],
            columns=_DECISION,
        )
        return frame.astype({"version": "Int64", "production": "Int64"}).set_index("id")

    @_privately
    def decision(self, number: int) -> Entry:
        """A decision with every check and fact behind it; raises StoreError when there is none."""
        return self._loop.journal.entry(number)

    @_privately
    def predict(self, rows: pd.DataFrame, version: int | None = None) -> pd.DataFrame:
        """Rows scored by production, or by another version; nothing is recorded.

        Columns `prediction`, `probability_CLASS` of each class, and `version`, under the index of
        `rows`, which are read like those of a window. Rows that break the contract are scored and
        warned of. Raises SourceError when a feature column is missing, RegistryError without a
        production model, ModelError when the API would refuse to serve that version too.
        """
        registry = self._loop.registry
        number = registry.require_production() if version is None else version
        model = registry.load_proved(number)
        model.require_self_test(number)
        refuse_incomplete(list(rows.columns), model.use_case, "predict")
        prepared = prepare(rows, model.use_case)
        for violation in check_contract(rows, prepared, model.use_case):
            warnings.warn(
                f"rows break the contract, do not trust their scores: {violation}", stacklevel=3
            )
        return pd.DataFrame(score_rows(model, prepared, number), index=rows.index)


_DECISION = [
    "id",
    "at",
    "window",
    "kind",
    "action",
    "version",
    "production",
    "outcome",
    "origin",
    "reason",
]


def _frame_of(columns: Sequence[ColumnDrift]) -> pd.DataFrame:
    numbers = {
        name: np.array([getattr(column, name) for column in columns], dtype=float)
        for name in ("score", "limit")
    }
    return pd.DataFrame(
        {
            "method": [column.method for column in columns],
            **numbers,
            "drifted": pd.array([column.drifted for column in columns], dtype="boolean"),
            "note": [column.note for column in columns],
        },
        index=pd.Index([column.column for column in columns], name="column"),
    )
