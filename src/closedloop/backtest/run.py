"""Several policies over the same history, side by side, and what came of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

from closedloop.backtest.fault_replay import (
    FaultCase,
    FaultFigures,
    choose_windows,
    measure_faults,
    put_in,
    replay_fault,
)
from closedloop.backtest.figures import Figures, Round, mean_auc, measure_policies
from closedloop.backtest.policies import DEFAULT, Every, parse_policy
from closedloop.backtest.replay import Past, Strategy, fit_first, replay
from closedloop.bundle.loaded import LoadedVersion
from closedloop.errors import UseCaseError

T = TypeVar("T")
# How many rounds of all policies are done, and how many there are.
Report = Callable[[int, int], object]
# LightGBM and NumPy let go of the interpreter, so two policies keep two cores busy; more of them
# wait for one another's fits.
AT_ONCE = 2


@dataclass(frozen=True)
class Backtest:
    """What every policy did and what came of it; `figures` are in the order in which the policies
    were asked for. `rounds` holds `static` and `always` in any case; `best_fixed` is the policy
    that regret is held against."""

    use_case: str
    label_delay: int
    first_windows: int
    windows: tuple[str, ...]
    figures: tuple[Figures, ...]
    rounds: dict[str, tuple[Round, ...]]
    best_fixed: str
    faults: tuple[FaultFigures, ...] = ()
    fault_cases: tuple[FaultCase, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The content of backtest.json: the figures, then the facts of every round."""
        rounds = {
            name: [{**asdict(one), "harmful": one.harmful, "missed": one.missed} for one in found]
            for name, found in self.rounds.items()
        }
        cases = [
            {**asdict(one), "shipped": one.shipped, "harmful": one.harmful}
            for one in self.fault_cases
        ]
        return {**asdict(self), "rounds": rounds, "fault_cases": cases}


def run_backtest(
    past: Past,
    policies: Sequence[str] = DEFAULT,
    report: Report = lambda done, whole: None,
    faults: Sequence[str] = (),
) -> Backtest:
    """Replay the past under each policy; `static` and `always` are replayed in any case, as the two
    ends of every share.

    Each of `faults` (`faults.FAULTS`) is then put into some windows, one at a time, and the
    policies that look, and `always`, are replayed around it. Raises UseCaseError for a policy that
    does not exist or is named twice, SourceError when there are too few windows.
    """
    strategies = [parse_policy(name, past.use_case) for name in dict.fromkeys(policies)]
    _refuse_doubles(strategies)
    ends = [parse_policy(name, past.use_case) for name in ("static", "always")]
    every, first = {one.name: one for one in (*ends, *strategies)}, fit_first(past)
    jobs = [partial(replay, past, one, first) for one in every.values()]
    rounds = dict(zip(every, _run_all(jobs, len(past.rounds()), report), strict=True))
    fixed = [name for name, one in every.items() if isinstance(one, Every)]
    tried = [one for name, one in every.items() if name == "always" or name not in fixed]
    cases = _replay_faults(past, tried, first, faults, report)
    found = {one.policy: one for one in measure_policies(rounds, fixed)}
    return Backtest(
        use_case=past.use_case.name,
        label_delay=past.delay,
        first_windows=past.first,
        windows=past.stream.names,
        figures=tuple(found[one.name] for one in strategies),
        rounds=rounds,
        best_fixed=max(fixed, key=lambda name: mean_auc(rounds[name]) or 0.0),
        faults=tuple(measure_faults(one.name, cases, rounds[one.name]) for one in tried)
        if faults
        else (),
        fault_cases=cases,
    )


def _replay_faults(
    past: Past,
    strategies: Sequence[Strategy],
    first: LoadedVersion,
    faults: Sequence[str],
    report: Report,
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
        partial(replay_fault, spoilt, one, first, fault)
        for fault, spoilt in faulty
        if spoilt is not None
        for one in strategies
    ]
    return tuple(_run_all(jobs, None, report))


def _refuse_doubles(strategies: Sequence[Strategy]) -> None:
    names = [one.name for one in strategies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UseCaseError(
            where="--policy",
            wanted="a name for each policy",
            got=f"{', '.join(twice)} twice",
            then="rename a file",
        )


def _run_all(jobs: Sequence[Callable[..., T]], rounds: int | None, report: Report) -> list[T]:
    """The results in the order of the jobs, each of which takes a callable for its rounds; without
    `rounds` a job counts as one step."""
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
        running = [pool.submit(run, one) for one in jobs]
        try:
            return [future.result() for future in running]
        finally:  # when one failed, or a person had enough, the others end with their round
            stopped.set()
            for future in running:
                future.cancel()


class _Stopped(Exception):
    """Another policy failed, or a person had enough."""
