"""Faults put into single windows of a replayed history: who ships a model trained on one, at what
cost.

The faulty rows are what a policy sees; the next window, on which its production is measured, is
always the clean one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from closedloop.backtest.figures import Round
from closedloop.backtest.replay import Past, Strategy, replay
from closedloop.bundle.frames import score_frame
from closedloop.bundle.loaded import LoadedVersion
from closedloop.errors import ClosedLoopError
from closedloop.metrics.auc import measure_auc
from closedloop.use_case.contract import UseCase

# Rounds to replay after the labels of a faulty window are due.
ROUNDS_AFTER = 4
# A loss in AUC on the next window that counts as harm.
DAMAGE = 0.02
WINDOWS = 3

Inject = Callable[[pd.DataFrame, str, UseCase, int], pd.DataFrame]


@dataclass(frozen=True)
class FaultCase:
    """One fault in one window under one policy.

    `escalated`: a person was called when the window arrived. `quarantined`: it was kept out of
    training. `damage` is the largest AUC that a production trained on the window lost on a next
    window, against the same model fitted without the fault; None when none was live.
    """

    policy: str
    fault: str
    window: str
    escalated: bool
    quarantined: bool
    damage: float | None

    @property
    def shipped(self) -> bool:
        """A model that was trained on the faulty window was in production."""
        return self.damage is not None

    @property
    def harmful(self) -> bool:
        """It cost more than `DAMAGE`."""
        return self.damage is not None and self.damage > DAMAGE


@dataclass(frozen=True)
class FaultFigures:
    """The cases of one policy in numbers.

    The two shares are false alarms: clean rounds that called a person, and clean windows that were
    kept out of training.
    """

    policy: str
    cases: int
    shipped: int
    harmful: int
    worst_damage: float | None
    clean_escalated_share: float
    clean_quarantined_share: float


def choose_windows(past: Past) -> tuple[str, ...]:
    """Windows spread over the rounds, if possible with `ROUNDS_AFTER` rounds after their labels."""
    names = [window for window, _ in past.rounds()]
    usable = names[: max(1, len(names) - past.delay - ROUNDS_AFTER)]
    places = {round(number * (len(usable) - 1) / max(WINDOWS - 1, 1)) for number in range(WINDOWS)}
    return tuple(usable[place] for place in sorted(places))


def put_in(past: Past, window: str, fault: str, inject: Inject) -> Past | None:
    """The same past with one fault in one window; None when the fault changes nothing there."""
    try:
        rows = inject(past.stream.read(window), fault, past.use_case, past.use_case.training.seed)
    except ClosedLoopError:
        return None
    return replace(past, replaced={window: rows})


def replay_fault(
    past: Past,
    strategy: Strategy,
    first: LoadedVersion,
    fault: str,
    report: Callable[[], object] = lambda: None,
) -> FaultCase:
    """Replay a past with one faulty window, until `ROUNDS_AFTER` rounds after its labels."""
    (window,) = past.replaced
    names = [name for name, _ in past.rounds()]
    end = names.index(window) + past.delay + ROUNDS_AFTER
    rounds = replay(past, strategy, first, report, until=end + 1)
    came = rounds[names.index(window)]
    kept_out = any(window in entry.quarantined for entry in rounds)
    return FaultCase(
        strategy.name,
        fault,
        window,
        "escalate" in came.actions,
        kept_out,
        measure_damage(past, rounds),
    )


def measure_damage(past: Past, rounds: Sequence[Round]) -> float | None:
    """The largest loss in next-window AUC of a production trained on the faulty window.

    None when there was none. A loss is against the same recipe fitted on the clean rows of the same
    windows: whatever else the fault changed, such as the time of a training, goes both ways.
    """
    (window,), losses = past.replaced, []
    learned = {
        entry.candidate: entry
        for entry in rounds
        if entry.candidate is not None and window in entry.trained_on
    }
    for entry in rounds:
        model = learned.get(entry.production)
        if model is None or entry.next_auc is None:
            continue
        fitted = past.compute.fit(
            model.recipe, tuple(past.labelled(name) for name in model.trained_on), past.use_case
        )
        rows = past.labelled(entry.next_window)
        clean = measure_auc(rows.labels, score_frame(fitted, rows.frame))
        if clean is not None:
            losses.append(clean - entry.next_auc)
    return max(losses, default=None)


def measure_faults(policy: str, cases: Sequence[FaultCase], clean: Sequence[Round]) -> FaultFigures:
    """One policy's cases and its false alarms."""
    mine = [case for case in cases if case.policy == policy]
    windows = {entry.window for entry in clean}
    quarantined = {window for entry in clean for window in entry.quarantined}
    return FaultFigures(
        policy=policy,
        cases=len(mine),
        shipped=sum(case.shipped for case in mine),
        harmful=sum(case.harmful for case in mine),
        worst_damage=max((case.damage for case in mine if case.damage is not None), default=None),
        clean_escalated_share=sum("escalate" in entry.actions for entry in clean) / len(clean),
        clean_quarantined_share=len(quarantined) / len(windows),
    )
