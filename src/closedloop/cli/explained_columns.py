"""The columns that `closedloop predict --explain` adds: what each column of a row adds to its
score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.bundle.contributions import Explainer
from closedloop.bundle.frames import pack_frame
from closedloop.bundle.loaded import LoadedVersion
from closedloop.use_case.contract import UseCase

_ROWS_AT_ONCE = 5_000


@dataclass(frozen=True)
class Explained:
    """How rows were explained; `largest_error` is a standard error, None unless sampled."""

    method: str
    evaluations: int
    largest_error: float | None


def explained_names(use_case: UseCase, classes: tuple[str, ...]) -> tuple[str, ...]:
    """`explain.base` and `explain.COLUMN` of the second class of two; `explain.CLASS...` of more.

    The base is `explain.(base)` where a column is named base.
    """
    base = "(base)" if "base" in use_case.columns else "base"
    parts = (base, *use_case.columns)
    if len(classes) == 2:
        return tuple(f"explain.{part}" for part in parts)
    return tuple(f"explain.{label}.{part}" for label in classes for part in parts)


class ExplainedColumns:
    """Explains prepared rows by a version that was loaded with its pipeline."""

    def __init__(self, version: LoadedVersion) -> None:
        self._explainer = Explainer(version)
        self._sides = version.scorer.numeric, version.scorer.categorical
        self._order = [self._explainer.columns.index(name) for name in version.use_case.columns]
        self.names = explained_names(version.use_case, version.facts.classes)
        self._largest_error = 0.0

    @property
    def explained(self) -> Explained:
        """What was done so far."""
        sampled = self._explainer.method == "sampled"
        return Explained(
            self._explainer.method,
            self._explainer.evaluations,
            self._largest_error if sampled else None,
        )

    def explain(self, prepared: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
        """The columns by name, each of shape (n,)."""
        parts = [
            self._explain(prepared.iloc[first : first + _ROWS_AT_ONCE])
            for first in range(0, len(prepared), _ROWS_AT_ONCE)
        ]
        whole = np.concatenate(parts) if parts else np.empty((0, len(self.names)))
        return dict(zip(self.names, whole.T, strict=True))

    def _explain(self, prepared: pd.DataFrame) -> NDArray[np.float64]:
        """Base and contributions in the order of `names`, (n, names)."""
        found = self._explainer.explain(*pack_frame(prepared, *self._sides))
        if found.errors is not None:
            self._largest_error = max(self._largest_error, float(found.errors.max()))
        base = np.broadcast_to(found.base[:, np.newaxis], (*found.margins.shape, 1))
        parts = np.concatenate([base, found.values[..., self._order]], axis=2)
        return parts.reshape(len(prepared), -1)
