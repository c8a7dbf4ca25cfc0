"""Policies that weigh what a stale model costs against what a retraining costs.

Both need a price: a retraining costs as much as a loss higher by `RETRAINING` during one window.
Their authors leave it to the user. Both look at the first windows as their authors' offline phase:
models fitted on the first window, the first two and so on are scored on the windows after them, and
are not counted as trainings, because nobody ships them.

`cara` is Cara-CT, the cumulated threshold of Mahadevan and Mathioudakis (Cost-aware retraining for
machine learning, Knowledge-Based Systems, 2024). `upf` is the forecaster of Regol and others (When
to retrain a machine learning model, ICML 2025). Both are written from public descriptions, and
smaller than the originals: the classes say where.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import beta
from sklearn.linear_model import BayesianRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from closedloop.backtest.replay import ReplayParts, Step
from closedloop.backtest.unchecked import first_recipe, read_due, retrain_unchecked
from closedloop.bundle.frames import score_frame
from closedloop.bundle.scorer import Scorer
from closedloop.decisions.policy import Policy
from closedloop.metrics.auc import measure_auc
from closedloop.training.candidates import LabelledWindow
from closedloop.turn.history import History
from closedloop.use_case.contract import UseCase

RETRAINING = 0.01
# Rows of each side that are compared by `cara`.
COMPARED_ROWS = 500
# Windows that a version is expected to live for, as the default `max_age_windows` of the loop.
HORIZON = 5
# Of the forecast errors, as in the paper.
QUANTILE = 0.95
FEWEST_PAIRS = 3


@dataclass(frozen=True)
class Cara:
    """Retrains when the staleness cumulated since the last retraining passes a threshold.

    Staleness of a window: for each of its rows, production's loss (1 minus the probability of the
    true class) on the newest labelled rows, weighted by how similar they are; the mean of it. The
    threshold is the one that would have cost least, staleness and retrainings together, on the
    first windows.

    Smaller than the original: rows are drawn (`COMPARED_ROWS`), similarity is a Gaussian kernel
    whose width is the median distance, labels are late, so that they come from an earlier window,
    and the offline phase is as short as the first windows, so that the threshold can be no more
    than what a model cumulated in it.
    """

    name: str = "cara"
    retraining: float = RETRAINING
    policy: Policy | None = None

    def turn(self, parts: ReplayParts, window: str, number: int) -> Step:
        """Add the window's staleness up; past the threshold, retrain without a gate."""
        history, notes = History(parts, window), parts.notes
        labelled = read_due(history)
        if "threshold" not in notes:
            notes["threshold"] = self._tune(history, labelled)
        if not labelled or labelled[-1].name != history.due[-1] or history.bundle is None:
            return Step(("keep",), "no new labels")
        stale = _measure_staleness(history.bundle.scorer, labelled[-1], window, history)
        notes["cumulated"] = notes.get("cumulated", 0.0) + stale
        shown = f"staleness {notes['cumulated']:.3f} of {notes['threshold']:.3f}"
        if notes["cumulated"] < notes["threshold"]:
            return Step(("keep",), shown)
        step = retrain_unchecked(history, self.name, shown)
        notes["cumulated"] = 0.0
        return step

    def _tune(self, history: History[ReplayParts], labelled: tuple[LabelledWindow, ...]) -> float:
        """The threshold that costs least on the windows that are labelled when a replay begins."""
        scorers, delay = (
            _fit_prefixes(history, labelled),
            history.loop.use_case.labels.delay_windows,
        )
        start = min(scorers, default=len(labelled))
        costs = {
            (through - start, place - start): _measure_staleness(
                scorers[through],
                labelled[place],
                history.names[labelled[place].index + delay],
                history,
            )
            for through in scorers
            for place in range(through + 1, len(labelled))
        }
        return choose_threshold(costs, len(labelled) - start, self.retraining)


def choose_threshold(
    staleness: Mapping[tuple[int, int], float], windows: int, retraining: float
) -> float:
    """The cheapest threshold on known windows; the highest of equals.

    `staleness` (i, j) is that of window j under the model fitted through window i. Infinite with
    less than two windows.
    """

    def live(threshold: float) -> float:
        model, cumulated, cost = 0, 0.0, 0.0
        for place in range(1, windows):
            cost += staleness[model, place]
            cumulated += staleness[model, place]
            # What is fitted at the end of the known windows pays for itself after them.
            if cumulated >= threshold and place < windows - 1:
                model, cumulated, cost = place, 0.0, cost + retraining
        return cost

    never = accumulate(staleness[0, place] for place in range(1, windows))
    return min(sorted(never, reverse=True), key=live, default=inf)


def _measure_staleness(
    scorer: Scorer, labelled: LabelledWindow, window: str, history: History[ReplayParts]
) -> float:
    use_case = history.loop.use_case
    answers = score_frame(scorer, labelled.frame)
    losses = 1 - answers[np.arange(len(answers)), labelled.labels]
    draw = np.random.default_rng([use_case.training.seed, labelled.index])
    asked, known = history.read(window).prepared, labelled.frame
    rows, places = (_draw_rows(len(frame), draw) for frame in (asked, known))
    near = _measure_similarity(asked.iloc[rows], known.iloc[places], use_case)
    return float((near @ losses[places] / near.sum(axis=1)).mean())


def _draw_rows(size: int, draw: np.random.Generator) -> NDArray[np.int_]:
    return np.sort(draw.permutation(size)[:COMPARED_ROWS])


def _measure_similarity(
    asked: pd.DataFrame, known: pd.DataFrame, use_case: UseCase
) -> NDArray[np.float64]:
    """Of every row to every other, over 0 to 1.

    Numbers are counted in standard deviations, a different category as one, a missing number as the
    mean.
    """
    squares = np.zeros((len(asked), len(known)))
    for name in use_case.numeric:
        left, right = (frame[name].to_numpy(dtype=float) for frame in (asked, known))
        mean, spread = _describe(right)
        left, right = (np.nan_to_num((side - mean) / spread) for side in (left, right))
        squares += np.square(left[:, None] - right[None, :])
    for name in use_case.categorical:
        left, right = (frame[name].astype(object).to_numpy() for frame in (asked, known))
        codes = pd.factorize(np.concatenate([left, right]))[0]
        squares += codes[: len(left), None] != codes[None, len(left) :]
    width = float(np.median(squares)) or 1.0
    return np.exp(-np.minimum(squares / width, 500.0))


def _describe(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation of what is known; 0 and 1 where nothing is, or nothing varies."""
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    return float(known.mean()), float(known.std()) or 1.0


@dataclass(frozen=True)
class Upf:
    """Retrains when the forecast cost of keeping is higher than that of retraining.

    What is forecast is the error (1 - AUC) of a model fitted through window i on a later window j,
    by a linear regression on i, the age j - i, and how far the means of the numbers have moved from
    window i to j; known pairs of versions and labelled windows teach it, anew in every round. The
    costs of keeping and of retraining are added up over the next `HORIZON` windows, at the 95 %
    quantile of each forecast, a Beta distribution.

    Smaller than the original: the regression is Bayesian ridge, the quantiles of the windows are
    added up, the windows to come are expected to look like the newest one, categories do not count
    as moved, and the horizon is fixed.
    """

    name: str = "upf"
    retraining: float = RETRAINING
    policy: Policy | None = None

    def turn(self, parts: ReplayParts, window: str, number: int) -> Step:
        """Measure the pairs that are new, forecast both ways, and take the cheaper."""
        history, known = History(parts, window), parts.notes.setdefault("known", {})
        labelled = read_due(history)
        places = {read.name: place for place, read in enumerate(labelled)}
        scorers = parts.notes.setdefault("scorers", {})
        if not scorers:
            scorers.update(_fit_prefixes(history, labelled))
        live = history.production
        through = None if live is None else places.get(live.trained_through or "")
        if history.bundle is None or through is None or through == len(labelled) - 1:
            return Step(("keep",), "no new labels")
        scorers[through] = history.bundle.scorer
        for later, rows in enumerate(labelled):
            for model in [model for model in scorers if model < later]:
                if (model, later) not in known:
                    known[model, later] = _measure_pair(
                        scorers[model], labelled[model], rows, parts.use_case
                    )
        learnt = [pair for pair in known.values() if pair is not None]
        if len(learnt) < FEWEST_PAIRS:
            return Step(("keep",), "too few windows to forecast from")
        keep, renew = (
            forecast_cost(learnt, _ask_ahead(labelled[model], history))
            for model in (through, len(labelled) - 1)
        )
        shown = f"forecast cost {keep:.3f} kept, {renew + self.retraining:.3f} retrained"
        if renew + self.retraining >= keep:
            return Step(("keep",), shown)
        return retrain_unchecked(history, self.name, shown)


# Of a model and a later window: when it was fitted, its age, how far the numbers have moved since,
# and its error.
Pair = tuple[float, float, float, float]


def _measure_pair(
    scorer: Scorer, taught: LabelledWindow, later: LabelledWindow, use_case: UseCase
) -> Pair | None:
    auc = measure_auc(later.labels, score_frame(scorer, later.frame))
    if auc is None:
        return None
    moved = _measure_move(taught.frame, later.frame, use_case)
    return taught.index, later.index - taught.index, moved, 1 - auc


def _measure_move(before: pd.DataFrame, after: pd.DataFrame, use_case: UseCase) -> float:
    """How far the means of the numbers moved, in standard deviations; the mean over the columns."""
    moves = []
    for name in use_case.numeric:
        mean, spread = _describe(before[name].to_numpy(dtype=float))
        moves.append(abs(_describe(after[name].to_numpy(dtype=float))[0] - mean) / spread)
    return float(np.mean(moves)) if moves else 0.0


def _ask_ahead(
    taught: LabelledWindow, history: History[ReplayParts]
) -> list[tuple[float, float, float]]:
    newest = history.read(history.window).prepared
    moved = _measure_move(taught.frame, newest, history.loop.use_case)
    ages = (history.index + ahead - taught.index for ahead in range(1, HORIZON + 1))
    return [(taught.index, age, moved) for age in ages]


def forecast_cost(learnt: Sequence[Pair], asked: Sequence[tuple[float, float, float]]) -> float:
    """The errors that are forecast for some windows, at their quantile, added up.

    `learnt` are known pairs, `asked` the same without their error.
    """
    table = np.asarray(learnt)
    model = make_pipeline(StandardScaler(), BayesianRidge()).fit(table[:, :3], table[:, 3])
    mean, spread = model.predict(np.asarray(asked), return_std=True)
    mean = np.clip(mean, 0.001, 0.999)
    widest = mean * (1 - mean)
    shape = widest / np.minimum(np.square(spread), 0.9 * widest) - 1
    return float(beta.ppf(QUANTILE, mean * shape, (1 - mean) * shape).sum())


def _fit_prefixes(
    history: History[ReplayParts], labelled: tuple[LabelledWindow, ...]
) -> dict[int, Scorer]:
    """The first recipe on the first window, the first two and so on, by the place of the newest.

    Without the last window, which no model may have learnt from, and from where every class was
    seen.
    """
    parts, classes = history.loop, len(history.loop.use_case.target.classes)
    recipe = first_recipe(parts.use_case)
    known, fitted = set[int](), dict[int, Scorer]()
    for place, window in enumerate(labelled[:-1]):
        known.update(window.labels.tolist())
        if len(known) == classes:
            fitted[place] = parts.compute.fit(recipe, labelled[: place + 1], parts.use_case)
    return fitted
