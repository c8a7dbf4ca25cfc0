"""Policies of others, as they are known from the literature and from practice, beside ours.

`adwin` and `ddm` retrain when a detector of River (Bifet and Gavalda 2007; Gama and others 2004)
says that production's errors rose. `two-of-five` retrains when drift_share is over its limit in two
of the last five windows, the newest among them, as the monitoring job of Databricks' MLOps Stacks
does with its metric. `bootstrap-gate` trains every second round and promotes what beats production
by 0.005 AUC, if a bootstrap says so too. `cara` and `upf` weigh costs: see `cost_aware`.

Each fits the first recipe on all labels that are due, in the same replay, with the same first
model. All but `bootstrap-gate` promote unchecked. What they remember of earlier rounds is in the
notes of the replay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from closedloop.backtest.cost_aware import Cara, Upf
from closedloop.backtest.replay import ReplayParts, Step, Strategy
from closedloop.backtest.unchecked import first_recipe, read_due, register, retrain_unchecked
from closedloop.bundle.frames import score_frame
from closedloop.decisions.evidence import RetrainingEvidence
from closedloop.decisions.policy import Policy
from closedloop.decisions.retraining import drift_over_limit
from closedloop.errors import UseCaseError
from closedloop.metrics.auc import measure_auc
from closedloop.turn.history import History
from closedloop.turn.window_drift import measure_window_drift

VIOLATIONS, LAST_WINDOWS = 2, 5
# The gate of `bootstrap-gate`.
DRAWS, PERCENTILE, MIN_DELTA, ROUNDS = 200, 5, 0.005, 2

# Told whether production erred on the next row, it says whether errors rose.
Rose = Callable[[bool], bool]


@dataclass(frozen=True)
class ErrorDetector:
    """Retrains when a detector says, within the newest labelled window, that errors rose.

    A row is an error (1) when production's likeliest class is not its label. The detector sees each
    labelled window once, as production stands when its labels are due; no production has learnt
    from it by then. It runs on through retrainings, with River's defaults. A change for the better
    starts nothing.
    """

    name: str
    make: Callable[[], Rose]
    policy: Policy | None = None

    def turn(self, parts: ReplayParts, window: str, number: int) -> Step:
        """Feed the errors on the newest due window; a rise retrains."""
        history = History(parts, window)
        rose = parts.notes.setdefault("rose", self.make())
        name = history.due[-1]
        labels = history.read(name).labelled.labels
        if not len(labels):
            return Step(("keep",), f"no labels in {name}")
        errors = history.answers(name, labelled=True).argmax(axis=1) != labels
        shown = f"errors on {errors.mean():.1%} of {name}"
        # Every row is fed, also after a signal.
        signals = sum(rose(bool(error)) for error in errors)
        if not signals:
            return Step(("keep",), shown)
        return retrain_unchecked(history, self.name, f"{shown}: {self.name} says that they rose")


@dataclass(frozen=True)
class DriftInWindows:
    """Retrains when drift_share was over its limit in some of the last windows and is now.

    Measured and calibrated as the loop's own drift_share, each window against the reference of the
    production that it met. A retraining does not clear the count.
    """

    name: str = "two-of-five"
    needed: int = VIOLATIONS
    last: int = LAST_WINDOWS
    policy: Policy | None = None

    def turn(self, parts: ReplayParts, window: str, number: int) -> Step:
        """Measure the window, count, and retrain without a gate."""
        history = History(parts, window)
        read = history.read(window)
        drift, _ = measure_window_drift(history, read)
        evidence = RetrainingEvidence(read.facts, history.state(), drift=drift)
        seen = parts.notes.setdefault("over", [])
        seen.append(bool(drift_over_limit(evidence, parts.use_case.policy)))
        shown = f"drift in {sum(seen[-self.last :])} of the last {self.last} windows"
        if not seen[-1] or sum(seen[-self.last :]) < self.needed:
            return Step(("keep",), shown)
        return retrain_unchecked(history, self.name, shown)


@dataclass(frozen=True)
class BootstrapGate:
    """Trains every second round; promotes what a bootstrap of the AUC difference lets through.

    The gate judges as ours does, so that only the rule differs: a twin that has not seen the newest
    labelled window against production on its rows, and the recipe is fitted again with them. The
    difference must be over `MIN_DELTA`, and the 5th percentile of `DRAWS` paired draws of its rows
    over 0.
    """

    name: str = "bootstrap-gate"
    policy: Policy | None = None

    def turn(self, parts: ReplayParts, window: str, number: int) -> Step:
        """Every second round: fit a candidate and ask the gate."""
        history = History(parts, window)
        windows = read_due(history)
        if number % ROUNDS or len(windows) < 2 or windows[-1].name != history.due[-1]:
            return Step(("keep",), "not its turn, or no new labels")
        use_case, recipe, judged = parts.use_case, first_recipe(parts.use_case), windows[-1]
        twin = parts.compute.fit(recipe, windows[:-1], use_case)
        ours = score_frame(twin, judged.frame)
        theirs = history.answers(judged.name, labelled=True)
        draw = np.random.default_rng([use_case.training.seed, judged.index])
        delta, low = bootstrap_delta(judged.labels, ours, theirs, draw)
        version = register(
            history,
            recipe,
            windows,
            parts.compute.fit(recipe, windows, use_case),
            measure_auc(judged.labels, ours),
        )
        better = delta is not None and low is not None and delta > MIN_DELTA and low > 0
        if better:
            parts.registry.promote(version, instead_of=parts.registry.production(), reason="better")
        shown = "AUC unknown" if delta is None else f"AUC {delta:+.4f} on {judged.name}"
        shown += "" if low is None else f", {low:+.4f} at the {PERCENTILE}th percentile"
        return Step(("retrain", "promote" if better else "reject"), shown, version, delta)


def bootstrap_delta(
    labels: NDArray[np.int_],
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    draw: np.random.Generator,
) -> tuple[float | None, float | None]:
    """Difference in AUC on the same rows, and the low percentile of its paired draws.

    A draw without a row of some class is left out; None where nothing can be measured.
    """

    def difference(rows: NDArray[np.int_]) -> float | None:
        first, second = (measure_auc(labels[rows], answers[rows]) for answers in (ours, theirs))
        return None if first is None or second is None else first - second

    size = len(labels)
    drawn = [difference(draw.integers(size, size=size)) for _ in range(DRAWS)]
    known = [delta for delta in drawn if delta is not None]
    return difference(np.arange(size)), float(np.percentile(known, PERCENTILE)) if known else None


def _make_adwin() -> Rose:
    from river.drift import ADWIN

    detector = ADWIN()

    def rose(error: bool) -> bool:
        before = detector.estimation
        detector.update(int(error))
        return bool(detector.drift_detected and detector.estimation > before)

    return rose


def _make_ddm() -> Rose:
    from river.drift.binary import DDM

    detector = DDM()

    def rose(error: bool) -> bool:
        detector.update(int(error))
        return bool(detector.drift_detected)

    return rose


RIVALS: dict[str, Strategy] = {
    rival.name: rival
    for rival in (
        ErrorDetector("adwin", _make_adwin),
        ErrorDetector("ddm", _make_ddm),
        DriftInWindows(),
        Cara(),
        Upf(),
        BootstrapGate(),
    )
}


def find_rival(name: str) -> Strategy:
    """One of `RIVALS`; raises UseCaseError when its package is not installed."""
    rival = RIVALS[name]
    if isinstance(rival, ErrorDetector):
        try:
            rival.make()
        except ImportError:
            raise UseCaseError(
                where=f"--policy {name}",
                wanted="the package river",
                got="none",
                then="install it with: pip install 'closedloop[rivals]'",
            ) from None
    return rival
