"""Pictures of a candidate: any names can be drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from closedloop.metrics.importance import ColumnImportance, Importance
from closedloop.metrics.plots import draw_importance, draw_scores
from tests.spec.examples import comparison


def test_names_are_no_formulas() -> None:
    """A dollar sign would begin one, and a damaged one would end the training."""
    found = replace(comparison().candidate, window=r"$\frac{")
    shares = np.linspace(0.1, 0.9, 20)
    probabilities = np.column_stack([1 - shares, shares])
    picture = draw_scores(np.arange(20) % 2, probabilities, (r"$\x", "$x^$"), found, "$$")
    assert picture.startswith(b"\x89PNG")
    columns = (ColumnImportance(r"$\frac{", 0.1, 0.01), ColumnImportance("$" * 99, 0, 0, 0, 0, 0))
    bars = draw_importance(Importance(r"$\x", 20, 5, 0.7, 3, columns))
    assert bars.startswith(b"\x89PNG")
