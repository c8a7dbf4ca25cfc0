"""Several policies over the same history, side by side, and what came of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from closedloop.errors import UseCaseError
from closedloop.measures import Figures, Round, mean_auc, measure_policies
from closedloop.replaying import Past, Strategy, fit_first, replay
from closedloop.strategies import DEFAULT, Every, parse_policy

# How many rounds of all policies are done, and how many there are.
Report = Callable[[int, int], object]
# LightGBM and NumPy let go of the interpreter, so two policies keep two cores busy; more of them wait for one another's fits.
AT_ONCE = 2


@dataclass(frozen=True)
class Backtest:
    """What every policy did and what came of it; `figures` are in the order in which the policies were asked for.
    `rounds` holds `static` and `always` in any case; `best_fixed` is the policy that regret is held against."""

    use_case: str
    label_delay: int
    first_windows: int
    windows: tuple[str, ...]
    figures: tuple[Figures, ...]
    rounds: dict[str, tuple[Round, ...]]
    best_fixed: str

    def as_json(self) -> dict[str, Any]:
        """The content of backtest.json: the figures, then the facts of every round."""
        rounds = {
            name: [{**asdict(one), "harmful": one.harmful, "missed": one.missed} for one in found] for name, found in self.rounds.items()
        }
        return {**asdict(self), "rounds": rounds}


def run_backtest(past: Past, policies: Sequence[str] = DEFAULT, report: Report = lambda done, whole: None) -> Backtest:
    """Replay the past under each policy; `static` and `always` are replayed in any case, as the two ends of every share.

    Raises UseCaseError for a policy that does not exist or is named twice, SourceError when there are too few windows.
    """
    strategies = [parse_policy(name, past.use_case) for name in dict.fromkeys(policies)]
    _refuse_doubles(strategies)
    ends = [parse_policy(name, past.use_case) for name in ("static", "always")]
    every = {one.name: one for one in (*ends, *strategies)}
    rounds = _replay_all(past, list(every.values()), report)
    fixed = [name for name, one in every.items() if isinstance(one, Every)]
    found = {one.policy: one for one in measure_policies(rounds, fixed)}
    return Backtest(
        use_case=past.use_case.name, label_delay=past.delay, first_windows=past.first, windows=past.stream.names,
        figures=tuple(found[one.name] for one in strategies), rounds=rounds,
        best_fixed=max(fixed, key=lambda name: mean_auc(rounds[name]) or 0.0),
    )  # fmt: skip


def _refuse_doubles(strategies: Sequence[Strategy]) -> None:
    names = [one.name for one in strategies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UseCaseError(where="--policy", wanted="a name for each policy", got=f"{', '.join(twice)} twice", then="rename a file")


def _replay_all(past: Past, strategies: Sequence[Strategy], report: Report) -> dict[str, tuple[Round, ...]]:
    whole, done, lock, stopped = len(strategies) * len(past.rounds()), [0], threading.Lock(), threading.Event()
    first = fit_first(past)

    def advance() -> None:
        if stopped.is_set():
            raise _Stopped
        with lock:
            done[0] += 1
            report(done[0], whole)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = [pool.submit(replay, past, one, first, advance) for one in strategies]
        try:
            return {one.name: future.result() for one, future in zip(strategies, running, strict=True)}
        finally:  # when one failed, or a person had enough, the others end with their round
            stopped.set()
            for future in running:
                future.cancel()


class _Stopped(Exception):
    """Another policy failed, or a person had enough."""
