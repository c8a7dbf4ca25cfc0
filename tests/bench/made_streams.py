"""Streams whose truth is known: what changes, when, and how well the new can be known.

A row has six numbers and a category; the odds of its target are a weighted sum of them, of one
product and of one threshold. What a stream is made of follows from its kind, its seed, the rows of
a window and the share of positives alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

Kind = Literal["none", "abrupt", "gradual", "recurring", "covariate", "label_shift", "wrong_labels"]
KINDS: tuple[Kind, ...] = get_args(Kind)
WINDOWS, SEASON = 24, 12
NUMBERS, CATEGORIES = 6, ("a", "b", "c", "d")
_FLIPPED = 0.4
# So many show a difference of 0.002 between two versions of one recipe.
_LATER_POSITIVES = 2000


@dataclass(frozen=True)
class MadeStream:
    """A stream as it came, and what is true of it.

    `frame` has the columns window, target and the features. `changed_at` is the first window of
    the new concept, None without one. `suspect` is the window with wrong labels, None without one;
    `truth` is the frame with right ones. `later` has many more rows of the last window, right ones.
    """

    kind: Kind
    frame: pd.DataFrame
    truth: pd.DataFrame
    later: pd.DataFrame
    changed_at: int | None = None
    suspect: int | None = None


@dataclass(frozen=True)
class _Concept:
    """How the log odds of the target follow from a row."""

    weights: np.ndarray
    by_category: np.ndarray
    product: float
    step: float

    def score(self, numbers: np.ndarray, categories: np.ndarray) -> np.ndarray:
        linear = numbers @ self.weights + self.by_category[categories]
        return np.asarray(
            linear
            + self.product * numbers[:, 0] * numbers[:, 1]
            + self.step * (numbers[:, 2] > 0.5)
        )


def make_stream(
    kind: Kind, seed: int, rows: int, positives: float, windows: int = WINDOWS
) -> MadeStream:
    """A stream of `windows` windows of `rows` rows, of which a share `positives` is positive."""
    random = np.random.default_rng([KINDS.index(kind), seed, rows, round(positives * 1000)])
    old, new = _draw_concept(random), _draw_concept(random)
    change = int(random.integers(windows // 3, windows // 2 + 1))
    shift = random.normal(size=NUMBERS)
    shift *= 2.0 / np.linalg.norm(shift)
    share_of_new: dict[str, Callable[[int], float]] = {
        "abrupt": lambda t: float(t >= change),
        "gradual": lambda t: float(np.clip((t - change) / (windows / 3), 0, 1)),
        "recurring": lambda t: 0.5 - 0.5 * float(np.cos(2 * np.pi * t / SEASON)),
    }

    def draw(t: int, rows: int) -> pd.DataFrame:
        moved = np.clip((t - 4) / (windows - 8), 0, 1) * shift if kind == "covariate" else 0.0
        wanted = positives
        if kind == "label_shift" and t >= change:
            wanted = min(0.5, positives * 3)
        numbers = random.normal(size=(rows, NUMBERS)) + moved
        categories = random.integers(0, len(CATEGORIES), rows)
        from_new = random.random(rows) < share_of_new.get(kind, lambda t: 0.0)(t)
        scores = np.where(from_new, new.score(numbers, categories), old.score(numbers, categories))
        target = (random.random(rows) < _logistic(scores + _intercept(scores, wanted))).astype(int)
        part = pd.DataFrame(numbers, columns=[f"x{place}" for place in range(NUMBERS)])
        return part.assign(group=np.array(CATEGORIES)[categories], target=target, window=t)

    truth = pd.concat([draw(t, rows) for t in range(windows)], ignore_index=True)
    wrong = truth.copy()
    if kind == "wrong_labels":
        flipped = (wrong["window"] == change) & (random.random(len(wrong)) < _FLIPPED)
        wrong.loc[flipped, "target"] = 1 - wrong.loc[flipped, "target"]
    later = draw(windows - 1, round(_LATER_POSITIVES / positives))
    return MadeStream(
        kind,
        wrong,
        truth,
        later,
        changed_at=change if kind == "abrupt" else None,
        suspect=change if kind == "wrong_labels" else None,
    )


def _draw_concept(random: np.random.Generator) -> _Concept:
    weights = random.normal(size=NUMBERS)
    weights *= 1.6 / np.linalg.norm(weights)
    return _Concept(
        weights, random.normal(scale=0.5, size=len(CATEGORIES)), random.normal() * 0.4, 0.8
    )


def _logistic(scores: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-scores)))


def _intercept(scores: np.ndarray, share: float) -> float:
    """What must be added for a mean probability of `share`, by halving the interval."""
    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _logistic(scores + middle).mean() < share else (low, middle)
    return (low + high) / 2
