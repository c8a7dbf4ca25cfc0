"""Which input column each column of the matrix that a pipeline's model sees comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

# Of these, each column of the output comes from the column of the input in the same place.
_ONE_TO_ONE = (SimpleImputer, StandardScaler, MinMaxScaler, RobustScaler, OrdinalEncoder)


@dataclass(frozen=True, eq=False)
class Encoded:
    """The two steps of a pipeline; `owners` are the places of the input columns, (width,)."""

    transformer: Any
    model: Any
    owners: NDArray[np.int64]
    columns: int

    def encode(self, frame: Any) -> NDArray[np.float64]:
        """What the model sees of a prepared frame, (n, width)."""
        encoded = self.transformer.transform(frame)
        dense = encoded.toarray() if hasattr(encoded, "toarray") else encoded
        return np.asarray(dense, dtype=np.float64)

    def add_up(self, parts: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """(n, m, width) summed over the columns of each input column: (n, m, columns)."""
        belongs = np.zeros((len(self.owners), self.columns))
        belongs[np.arange(len(self.owners)), self.owners] = 1.0
        return np.asarray(parts @ belongs, dtype=np.float64)


def read_encoding(pipeline: Any, columns: Sequence[str]) -> Encoded | None:
    """The encoding of a pipeline of columns and a model, as recipes build it.

    None for any other, and when a column of the matrix may come from several of the input.
    """
    if not isinstance(pipeline, Pipeline) or len(pipeline) != 2:
        return None
    transformer, model = pipeline[0], pipeline[1]
    if not isinstance(transformer, ColumnTransformer):
        return None
    places = {name: place for place, name in enumerate(columns)}
    width = max((part.stop for part in transformer.output_indices_.values()), default=0)
    owners = np.full(width, -1, dtype=np.int64)
    for name, step, names in transformer.transformers_:
        part = transformer.output_indices_[name]
        if part.start == part.stop:
            continue
        repeats = _count_outputs(step, len(names))
        if repeats is None or sum(repeats) != part.stop - part.start or not {*names} <= {*places}:
            return None
        owners[part] = np.repeat([places[name] for name in names], repeats)
    return None if (owners < 0).any() else Encoded(transformer, model, owners, len(columns))


def _count_outputs(step: Any, inputs: int) -> list[int] | None:
    """How many columns each input column becomes, None when that is not known."""
    *before, last = step.named_steps.values() if isinstance(step, Pipeline) else [step]
    if not all(_is_one_to_one(part) for part in before):
        return None
    if isinstance(last, OneHotEncoder):
        return [len(values) for values in last.categories_]
    return [1] * inputs if _is_one_to_one(last) else None


def _is_one_to_one(step: Any) -> bool:
    passes = isinstance(step, FunctionTransformer) and step.func is None
    return passes or step == "passthrough" or isinstance(step, _ONE_TO_ONE)
