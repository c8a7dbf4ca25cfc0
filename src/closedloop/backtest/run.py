"""Several policies replayed on the same history, and their results side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from closedloop.backtest.cache import CachedCompute
from closedloop.backtest.fault_replay import (
    FaultCase,
    FaultFigures,
    choose_windows,
    measure_faults,
    put_in,
    replay_fault,
)
from closedloop.backtest.figures import PolicyFigures, Round, mean_auc, measure_policies
from closedloop.backtest.policies import DEFAULT, Every, parse_policy
from closedloop.backtest.replay import Past, Strategy, Stream, fit_first, replay
from closedloop.bundle.loaded import LoadedVersion
from closedloop.decisions.deciding_measure import ROC_AUC
from closedloop.errors import UseCaseError
from closedloop.turn.open import Loop
from closedloop.windows.large_window import SampledSource

T = TypeVar("T")
# Called with the number of rounds done and the number of all rounds.
Progress = Callable[[int, int], object]
# LightGBM and NumPy release the interpreter lock, so two policies keep two cores busy; more would
# wait for each other's fits.
AT_ONCE = 2


@dataclass(frozen=True)
class Backtest:
    """What every policy did and achieved.

    `figures` are in the order in which the policies were named. `rounds` always holds `static` and
    `always`; `best_fixed` is the policy that regret is measured against. What the figures call AUC
    is the `measure` that decides, turned so that more is better; faults are judged by AUC.
    """

    use_case: str
    label_delay: int
    first_windows: int
    windows: tuple[str, ...]
    figures: tuple[PolicyFigures, ...]
    rounds: dict[str, tuple[Round, ...]]
    best_fixed: str
    faults: tuple[FaultFigures, ...] = ()
    fault_cases: tuple[FaultCase, ...] = ()
    measure: str = ROC_AUC

    def as_json(self) -> dict[str, Any]:
        """The content of backtest.json: the figures, then the facts of every round."""
        rounds = {
            name: [
                {**asdict(entry), "harmful": entry.harmful, "missed": entry.missed}
                for entry in entries
            ]
            for name, entries in self.rounds.items()
        }
        cases = [
            {**asdict(case), "shipped": case.shipped, "harmful": case.harmful}
            for case in self.fault_cases
        ]
        return {**asdict(self), "rounds": rounds, "fault_cases": cases}


def open_past(loop: Loop, *, delay: int | None = None, first: int = 3) -> Past:
    """The windows of a use case as a past, with results cached under CLOSEDLOOP_HOME.

    `delay` takes the place of the `delay_windows` of loop.toml.
    """
    use_case = loop.use_case
    if delay is not None:
        use_case = replace(use_case, labels=replace(use_case.labels, delay_windows=delay))
    cache = CachedCompute(find_results(loop) / "cache")
    return Past(Stream(SampledSource(loop.source, use_case)), use_case, cache, first)


def find_results(loop: Loop) -> Path:
    """The folder of a use case's backtests under CLOSEDLOOP_HOME."""
    return loop.settings.home_folder / "backtest" / loop.use_case.name


def run_backtest(
    past: Past,
    policies: Sequence[str | Strategy] = DEFAULT,
    report: Progress = lambda done, whole: None,
    faults: Sequence[str] = (),
) -> Backtest:
    """Replay the past under each policy, and under `static` and `always` as the ends of the scale.

    A policy is a name, or a file, as `parse_policy` reads it, or a strategy of your own.

    Each of `faults` (`faults.FAULTS`) is then put into some windows, one at a time, and the
    policies that look, and `always`, are replayed around it. Raises UseCaseError for a policy that
    does not exist or is named twice, SourceError when there are too few windows.
    """
    asked = [
        parse_policy(policy, past.use_case) if isinstance(policy, str) else policy
        for policy in dict.fromkeys(policies)
    ]
    _refuse_doubles(asked)
    ends = [parse_policy(name, past.use_case) for name in ("static", "always")]
    every = {policy.name: policy for policy in (*ends, *asked)}
    first = fit_first(past)
    jobs = [partial(replay, past, policy, first) for policy in every.values()]
    rounds = dict(zip(every, _run_all(jobs, len(past.rounds()), report), strict=True))
    fixed = [name for name, policy in every.items() if isinstance(policy, Every)]
    tried = [policy for name, policy in every.items() if name == "always" or name not in fixed]
    cases = _replay_faults(past, tried, first, faults, report)
    figures = {found.policy: found for found in measure_policies(rounds, fixed)}
    return Backtest(
        use_case=past.use_case.name,
        label_delay=past.delay,
        first_windows=past.first,
        windows=past.stream.names,
        figures=tuple(figures[policy.name] for policy in asked),
        rounds=rounds,
        best_fixed=max(fixed, key=lambda name: _mean_or_worst(rounds[name])),
        faults=tuple(measure_faults(policy.name, cases, rounds[policy.name]) for policy in tried)
        if faults
        else (),
        fault_cases=cases,
        measure=past.use_case.policy.promotion.measure,
    )


def _mean_or_worst(rounds: Sequence[Round]) -> float:
    mean = mean_auc(rounds)
    return -inf if mean is None else mean


def _replay_faults(
    past: Past,
    policies: Sequence[Strategy],
    first: LoadedVersion,
    faults: Sequence[str],
    report: Progress,
) -> tuple[FaultCase, ...]:
    if not faults:
        return ()
    from closedloop.backtest.faults import inject

    faulty = [
        (fault, put_in(past, window, fault, inject))
        for window in choose_windows(past)
        for fault in faults
    ]
    jobs = [
        partial(replay_fault, spoilt, policy, first, fault)
        for fault, spoilt in faulty
        if spoilt is not None
        for policy in policies
    ]
    return tuple(_run_all(jobs, None, report))


def _refuse_doubles(policies: Sequence[Strategy]) -> None:
    names = [policy.name for policy in policies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UseCaseError(
            where="--policy",
            wanted="a name for each policy",
            got=f"{', '.join(twice)} twice",
            then="rename a file",
        )


def _run_all(jobs: Sequence[Callable[..., T]], rounds: int | None, report: Progress) -> list[T]:
    """The results in the order of the jobs; each job takes a callable to report a round.

    Without `rounds` a job counts as one step.
    """
    whole, done, lock, stopped = len(jobs) * (rounds or 1), [0], threading.Lock(), threading.Event()

    def advance() -> None:
        with lock:
            done[0] += 1
            report(done[0], whole)

    def check() -> None:
        if stopped.is_set():
            raise _Stopped
        if rounds is not None:
            advance()

    def run(job: Callable[..., T]) -> T:
        result = job(report=check)
        if rounds is None:
            advance()
        return result

    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = [pool.submit(run, job) for job in jobs]
        try:
            return [future.result() for future in running]
        finally:  # after a failure or an interrupt, the others end with their current round
            stopped.set()
            for future in running:
                future.cancel()


class _Stopped(Exception):
    """Another policy failed, or a person interrupted the run."""
