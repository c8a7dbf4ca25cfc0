"""What computes: two packed arrays in, probabilities out. Who packs does not know who computes."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from closedloop.bundle.files import Facts
from closedloop.use_case.contract import UseCase


class Scorer(Protocol):
    """A version's files, loaded: `ServedModel` of bundle/onnx_model.py where its ONNX was proved,
    else `PackedPipeline` of bundle/skops_model.py.

    `served_by` says which, `served_reason` why the pipeline has to (empty for ONNX). `quick` ones
    answer a row in well under a millisecond, so that no thread is needed to keep the event loop
    free.
    """

    @property
    def served_by(self) -> Literal["onnx", "pipeline"]: ...

    @property
    def quick(self) -> bool: ...

    @property
    def self_test_tolerance(self) -> float: ...

    @property
    def served_reason(self) -> str: ...

    @property
    def facts(self) -> Facts: ...

    @property
    def use_case(self) -> UseCase: ...

    @property
    def example(self) -> dict[str, float | str | None] | None:
        """A row that the model was tried on, None for null; None when it was tried on none."""
        ...

    def probabilities(self, numbers: NDArray[np.float64], texts: NDArray[Any]) -> NDArray[Any]:
        """Shape (n, k), in the order of the model's classes, for `numbers` (n, f) and `texts` (n,
        c) as `packing.Packed` has them."""
        ...

    def measure_self_test(self) -> float:
        """Largest difference between today's answers to the self-test rows and those of the fitted
        pipeline."""
        ...
