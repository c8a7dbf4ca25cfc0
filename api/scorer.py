"""What computes: the two packed arrays in, probabilities out. Who packs does not know who computes."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.packaging import Bundle


class Scorer(Protocol):
    """`quick` scorers answer a row in well under a millisecond, so that no thread is needed to keep the event loop free."""

    quick: bool

    def probabilities(self, numbers: NDArray[np.float64], texts: NDArray[Any]) -> NDArray[np.float64]:
        """Shape (n, k), in the order of the model's classes, for `numbers` (n, f) and `texts` (n, c) as `packing.Packed` has them."""
        ...


class PipelineScorer:
    """The scikit-learn pipeline of a bundle, which wants a frame: milliseconds a call."""

    quick = False

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def probabilities(self, numbers: NDArray[np.float64], texts: NDArray[Any]) -> NDArray[np.float64]:
        use_case = self._bundle.use_case
        columns: dict[str, Any] = {name: numbers[:, place] for place, name in enumerate(use_case.numeric)}
        columns.update({name: pd.Series(texts[:, place], dtype=object) for place, name in enumerate(use_case.categorical)})
        return self._bundle.probabilities(pd.DataFrame({name: columns[name] for name in use_case.columns}))
