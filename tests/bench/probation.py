"""`make bench-probation`: promotions where nothing is wrong, and regressions that pass the gate."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from closedloop.backtest.cache import CachedCompute
from closedloop.backtest.figures import Round
from closedloop.backtest.policies import Brain
from closedloop.backtest.replay import Past, fit_first, replay
from closedloop.decisions.drift_report import DriftReport
from closedloop.decisions.policy import Policy
from tests.bench.replay_streams import (
    FIRST_WINDOWS,
    LEARNERS,
    ROOT,
    SHUFFLED,
    add_streams_option,
    make_past,
)

PLANTED = "planted"


@dataclass(frozen=True)
class Watched:
    """One promotion and what became of it: `rows` are those of the windows until it was taken back,
    labels due or not, `seconds` those of the turns."""

    stream: str
    window: str
    taken_back_in: str
    windows: int
    rows: int
    reason: str
    learnt: tuple[str, ...] = ()


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="bench-probation", description=__doc__)
    add_streams_option(parser)
    parser.add_argument(
        "--promotions", type=int, default=100, help="promotions that come through a probation"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "var" / "bench" / "probation.json",
        help="where the figures go",
    )
    return parser.parse_args(arguments)


class WithoutDrift(CachedCompute):
    """Computes as a replay does, without drift, which takes most of the time: here age trains."""

    def measure_drift(
        self, reference: pd.DataFrame, current: pd.DataFrame, **options: Any
    ) -> tuple[DriftReport, Callable[[], None]]:
        """Nothing was watched."""
        names = options["reference_name"], options["current_name"]
        return DriftReport(*names, len(reference), len(current), ()), lambda: None


def often(policy: Policy, delay: int) -> Policy:
    """The policy, but production is replaced as soon as its probation is over."""
    rules = policy.retraining
    eager = replace(
        rules,
        max_age_windows=policy.rollback.probation_windows + delay,
        cooldown_windows=0,
        budget_trainings=rules.budget_windows,
    )
    return replace(policy, retraining=eager)


def watch(past: Past, stream: str) -> list[Watched]:
    """Every promotion of a replay that came through a whole probation, or was taken back in it."""
    policy = often(past.use_case.policy, past.delay)
    past = replace(past, compute=WithoutDrift())
    rounds = replay(past, Brain("often", policy), fit_first(past))
    return list(follow(past, stream, rounds))


def follow(past: Past, stream: str, rounds: Sequence[Round]) -> Iterator[Watched]:
    """What became of each promotion, by the rounds after it."""
    windows = past.use_case.policy.rollback.probation_windows
    for place, lived in enumerate(rounds):
        if not lived.promoted:
            continue
        later = rounds[place + 1 : place + 1 + windows]
        back = next((each for each in later if each.rolled_back), None)
        if back is None and len(later) < windows:
            continue
        passed = later if back is None else later[: later.index(back) + 1]
        yield Watched(
            stream,
            lived.window,
            "" if back is None else back.window,
            len(passed),
            sum(len(past.stream.read(each.window)) for each in passed),
            "" if back is None else back.reason,
            lived.trained_on,
        )


def shuffle(streams: Path, name: str, seed: int, folder: Path) -> Path:
    """The rows of a stream in another order: no window differs from another but by chance."""
    frame = pd.read_parquet(streams / f"{name}.parquet")
    mixed = frame.drop(columns="window").sample(frac=1, random_state=seed).reset_index(drop=True)
    path = folder / f"{name}.parquet"
    mixed.assign(window=frame["window"].to_numpy()).to_parquet(path)
    return path


def plant(path: Path, place: int, seed: int) -> None:
    """A column that tells the target in the window at a place, and nothing in any other.

    A model that learnt from that window trusts the column. The gate cannot know: its rows are
    those of the same window, and the twin that it judges has not learnt from them.
    """
    frame = pd.read_parquet(path)
    names, draw = list(dict.fromkeys(frame["window"])), np.random.default_rng(seed)
    window = names[place]
    classes = {value: place for place, value in enumerate(sorted(frame["target"].unique()))}
    truth = frame["target"].map(classes).to_numpy(dtype=float)
    noise = draw.permutation(truth)
    told = np.where(frame["window"] == window, truth, noise)
    frame.assign(**{PLANTED: told * 3 + draw.normal(0, 0.5, len(frame))}).to_parquet(path)


def run_shuffled(options: argparse.Namespace, names: Sequence[str], console: Console) -> Any:
    """Promotions on shuffled streams until there are enough."""
    found: list[Watched] = []
    for seed, name, learner in (
        (seed, *pair) for seed in count() for pair in product(names, LEARNERS)
    ):
        if len(found) >= options.promotions:
            break
        with tempfile.TemporaryDirectory() as folder, console.status(f"{name}, {learner}, {seed}"):
            past = make_past(shuffle(options.streams, name, seed, Path(folder)), learner, None)
            found += watch(past, f"{name}, {learner}, order {seed}")
    found = found[: options.promotions]
    back = [each for each in found if each.taken_back_in]
    console.print(
        f"shuffled: {len(back)} of {len(found)} promotions in probation were taken back",
        highlight=False,
    )
    for each in back:
        console.print(f"  {each.stream}, {each.taken_back_in}: {each.reason}", highlight=False)
    return {"promotions": len(found), "taken_back": len(back), "which": [*map(asdict, back)]}


def run_planted(options: argparse.Namespace, names: Sequence[str], console: Console) -> Any:
    """A regression planted into a shuffled stream: is it promoted, and when is it taken back?"""
    lines = []
    for name, learner in product(names, LEARNERS):
        with tempfile.TemporaryDirectory() as folder, console.status(f"{name}, {learner} ..."):
            path = shuffle(options.streams, name, 1, Path(folder))
            plant(path, FIRST_WINDOWS + 1, 1)
            past = make_past(path, learner, None)
            began = time.perf_counter()
            found = watch(past, f"{name}, {learner}")
            seconds = time.perf_counter() - began
        window = past.stream.names[FIRST_WINDOWS + 1]
        learnt = [each for each in found if window in each.learnt][:1]
        told = "not promoted"
        if learnt:
            each = learnt[0]
            told = (
                f"taken back in {each.taken_back_in}, {each.windows} windows and {each.rows} rows "
                "after its promotion"
                if each.taken_back_in
                else "not taken back"
            )
        console.print(f"planted in {window} of {name}, {learner}: {told}", highlight=False)
        lines.append(
            {"stream": name, "learner": learner, "window": window, "seconds": round(seconds, 1)}
            | (asdict(learnt[0]) if learnt else {})
        )
    return lines


def main(arguments: Sequence[str]) -> int:
    """Measure both, show them, write them. Without streams nothing is written."""
    options, console, began = parse(arguments), Console(width=120), time.perf_counter()
    names = [name for name in SHUFFLED if (options.streams / f"{name}.parquet").is_file()]
    if not names:
        console.print("nothing was measured: name the folder of the streams with --streams")
        return 0
    content = {
        "shuffled": run_shuffled(options, names, console),
        PLANTED: run_planted(options, names, console),
        "seconds": round(time.perf_counter() - began, 1),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    console.print(f"written to {options.out}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
