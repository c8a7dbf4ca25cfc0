"""A model that answers: two packed arrays in, class probabilities out. Needs numpy alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from closedloop.use_case.contract import MISSING

# Sums of float32 are not exactly 1.
SHARE_TOLERANCE = 1e-3


class Scorer(Protocol):
    """`OnnxScorer` for a proved ONNX model, `PipelineScorer` for a scikit-learn pipeline.

    Never changed after loading; any number of threads may ask it at once.
    """

    @property
    def numeric(self) -> tuple[str, ...]:
        """The columns of `numbers`, in order."""

    @property
    def categorical(self) -> tuple[str, ...]:
        """The columns of `texts`, in order."""

    @property
    def served_by(self) -> Literal["onnx", "pipeline"]:
        """What computes the answers."""

    @property
    def quick(self) -> bool:
        """True when a row takes well under a millisecond: no thread is needed for it."""

    @property
    def self_test_tolerance(self) -> float:
        """How far an answer to a self-test row may be from that of the fitted pipeline."""

    def probabilities(
        self, numbers: NDArray[np.floating[Any]], texts: NDArray[Any], /
    ) -> NDArray[np.floating[Any]]:
        """Class probabilities, shape (n, k), in the order of the model's classes.

        `numbers` has shape (n, f), NaN for null; `texts` has shape (n, c) and holds str objects,
        MISSING for null.
        """


def pack_rows(
    rows: Sequence[Mapping[str, Any]], numeric: Sequence[str], categorical: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Prepared rows, by column name, as the arrays that a scorer takes.

    None, an absent column and a number that is not finite become null, as in
    `contract_check.prepare`.
    """
    numbers = np.array(
        [[_number(row.get(name)) for name in numeric] for row in rows], dtype=np.float64
    )
    texts = np.empty((len(rows), len(categorical)), dtype=object)
    for place, row in enumerate(rows):
        texts[place] = [
            MISSING if (text := row.get(name)) is None else text for name in categorical
        ]
    return numbers.reshape(len(rows), len(numeric)), texts


def largest_difference(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Largest absolute difference between two arrays of probabilities.

    Infinite when a value is NaN or the shapes differ, so that it is below no limit.
    """
    if ours.shape != theirs.shape:
        return math.inf
    if not ours.size:
        return 0.0
    difference = float(
        np.abs(np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)).max()
    )
    return difference if math.isfinite(difference) else math.inf


def are_probabilities(answers: NDArray[Any], rows: int, classes: int) -> bool:
    """Whether these are shares of 0 to 1 for each of the classes, which sum to 1 in each row."""
    return (
        answers.shape == (rows, classes)
        and answers.dtype.kind == "f"
        and bool((answers >= -SHARE_TOLERANCE).all())
        and bool((np.abs(answers.sum(axis=1, dtype=float) - 1) <= SHARE_TOLERANCE).all())
    )


def _number(value: Any) -> float:
    return value if value is not None and math.isfinite(value) else math.nan
