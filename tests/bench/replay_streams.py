"""`make bench-loop`: how much of the gain of always retraining the loop keeps, and at what cost."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from closedloop.backtest.cache import CachedCompute
from closedloop.backtest.faults import FAULTS, applicable
from closedloop.backtest.figures import Round
from closedloop.backtest.policies import DEFAULT, Brain
from closedloop.backtest.replay import Past, Stream, fit_first, replay
from closedloop.backtest.rivals import RIVALS
from closedloop.backtest.run import Backtest, run_backtest
from closedloop.backtest.unchecked import first_recipe
from closedloop.bundle.frames import score_frame
from closedloop.cli.draft.write_use_case import Asked, write_use_case
from closedloop.metrics.auc import measure_auc
from closedloop.settings import Settings
from closedloop.training.candidates import LabelledWindow
from closedloop.windows.open_source import open_source
from tests.bench.replay_totals import (
    add_over_schedule,
    describe_controls,
    describe_faults,
    describe_shuffled,
    show,
    total,
    total_changes,
    total_faults,
)
from tests.bench.variants import choose_variants

ROOT = Path(__file__).resolve().parents[2]
DRIFTING = ("elec2", "bank", "weather", "bike", "telco_cohort")
CONTROLS = ("control_elec2_shuffled", "control_bike_shuffled", "control_telco_cohort_shuffled")
LEARNERS = ("lightgbm", "logistic")
LABEL_DELAY, FIRST_WINDOWS = 1, 3
SHUFFLED = ("elec2", "bike", "telco_cohort")
# The schedules that `over schedule` is measured against are all among them.
POLICIES = (*DEFAULT, "every-3", "every-8")


def add_streams_option(parser: argparse.ArgumentParser) -> None:
    """`--streams`: the folder that CLOSEDLOOP_STREAMS names, or the one beside the project."""
    beside = os.environ.get("CLOSEDLOOP_STREAMS") or ROOT.parent / "shared" / "data" / "streams"
    parser.add_argument(
        "--streams",
        type=Path,
        default=Path(beside),
        help="a folder of NAME.parquet with the columns window and target",
    )


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="bench-loop", description=__doc__)
    add_streams_option(parser)
    parser.add_argument(
        "--only", action="append", metavar="STREAM", help="only this stream; repeatable"
    )
    parser.add_argument(
        "--faults",
        action="store_true",
        help="also inject every fault into three windows of each drifting stream",
    )
    parser.add_argument(
        "--rivals",
        action="store_true",
        help=f"also replay the policies of others: {', '.join(RIVALS)}",
    )
    parser.add_argument(
        "--variants",
        nargs="*",
        help="also the loop without one of its parts or with dearer trainings: all, or these",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=0,
        help="also run the loop on this many shuffles of some streams",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "var" / "bench" / "loop.json",
        help="where the figures go",
    )
    return parser.parse_args(arguments)


def replay_stream(
    table: Path,
    learner: str,
    cache: Path,
    policies: Sequence[str],
    faults: Sequence[str] = (),
    *,
    variants: Sequence[str] | None = None,
) -> tuple[Past, Backtest]:
    """Some policies on one table, described as `closedloop init` describes it, with one learner."""
    past = make_past(table, learner, cache)
    tried = [fault for fault in faults if fault in applicable(past.use_case)]
    others = choose_variants(past.use_case.policy, variants)
    return past, run_backtest(past, [*policies, *others], faults=tried)


def make_past(table: Path, learner: str, cache: Path | None) -> Past:
    """One table as `closedloop init` describes it, with one learner and late labels."""
    with tempfile.TemporaryDirectory() as folder:
        asked = Asked("target", Path(folder) / "loop.toml", window_column="window")
        use_case, _ = write_use_case([table], asked)
        use_case = replace(use_case, training=replace(use_case.training, recipes=(learner,)))  # type: ignore[arg-type]
        use_case = replace(use_case, labels=replace(use_case.labels, delay_windows=LABEL_DELAY))
        return Past(Stream(open_source(use_case)), use_case, CachedCompute(cache), FIRST_WINDOWS)


def true_changes(
    past: Past, rounds: Sequence[Round], later: LabelledWindow | None = None
) -> list[float]:
    """The change in AUC by each promotion of a stream without drift.

    On the rows `later`, by default on those of all windows after the promotion.
    """
    models: dict[int, tuple[str, Sequence[str]]] = {
        1: (first_recipe(past.use_case), past.stream.names[: past.first])
    }
    changes, before = [], 1
    for lived in rounds:
        if lived.candidate is not None:
            models[lived.candidate] = lived.recipe, lived.trained_on
        if lived.promoted:
            following = past.stream.names[past.stream.names.index(lived.window) + 1 :]
            judges = [past.labelled(name) for name in following] if later is None else [later]
            aucs = [
                _judge(past, *models[version], judges) for version in (lived.production, before)
            ]
            changes.append(aucs[0] - aucs[1])
        before = lived.production
    return changes


def _judge(
    past: Past, recipe: str, trained_on: Sequence[str], judges: Sequence[LabelledWindow]
) -> float:
    windows = tuple(past.labelled(name) for name in trained_on)
    model = past.compute.fit(recipe, windows, past.use_case)
    labels = np.concatenate([rows.labels for rows in judges])
    answers = np.concatenate([score_frame(model, rows.frame) for rows in judges])
    return measure_auc(labels, answers) or 0.0


def replay_shuffled(
    streams: Path, names: Sequence[str], seeds: int, report: Callable[[str], object]
) -> dict[str, Any]:
    """The loop on shuffled rows, each shuffle a history without drift: trainings and promotions."""
    rounds, changes, decisions = [], [], 0
    for name, learner, seed in product(names, LEARNERS, range(seeds)):
        report(f"{name} shuffled, {learner}, {seed + 1} of {seeds} ...")
        with tempfile.TemporaryDirectory() as folder:
            frame = pd.read_parquet(streams / f"{name}.parquet")
            mixed = (
                frame.drop(columns="window")
                .sample(frac=1, random_state=seed)
                .reset_index(drop=True)
            )
            mixed.assign(window=frame["window"].to_numpy()).to_parquet(
                Path(folder) / f"{name}.parquet"
            )
            past = make_past(Path(folder) / f"{name}.parquet", learner, None)
            lived = replay(past, Brain(), fit_first(past))
            changes += true_changes(past, lived)
        rounds += lived
        decisions += sum(turn.candidate is not None for turn in lived)
    return {
        "histories": len(names) * len(LEARNERS) * seeds,
        "rounds": len(rounds),
        **total_changes(changes, decisions),
        "trainings_share": decisions / len(rounds),
    }


def find_streams(options: argparse.Namespace, console: Console) -> list[str]:
    """The streams to replay that have a file; the missing ones are named."""
    wanted = [name for name in (*DRIFTING, *CONTROLS) if not options.only or name in options.only]
    found = [name for name in wanted if (options.streams / f"{name}.parquet").is_file()]
    if missing := [name for name in wanted if name not in found]:
        console.print(
            f"skipped, because {options.streams} has no such file: {', '.join(missing)}",
            highlight=False,
        )
    return found


def replay_all(
    options: argparse.Namespace, names: Sequence[str], console: Console
) -> tuple[dict[str, dict[str, dict[str, Any]]], list[Backtest], list[float]]:
    """Figures by stream and learner, the backtests with faults, the changes on the controls."""
    cache = Settings().home_folder / "bench" / "loop_cache"
    policies = (*POLICIES, *(RIVALS if options.rivals else ()))
    streams: dict[str, dict[str, dict[str, Any]]] = {}
    faulty: list[Backtest] = []
    changes: list[float] = []
    for name, learner in product(names, LEARNERS):
        began = time.perf_counter()
        with console.status(f"{name}, {learner} ..."):
            tried = tuple(FAULTS) if options.faults and name in DRIFTING else ()
            table = options.streams / f"{name}.parquet"
            past, found = replay_stream(
                table, learner, cache, policies, tried, variants=options.variants
            )
        faulty += [found] if found.faults else []
        if name in CONTROLS:
            changes += true_changes(past, found.rounds["loop"])
        figures = add_over_schedule({each.policy: asdict(each) for each in found.figures})
        streams.setdefault(name, {})[learner] = figures
        show(console, f"{name}, {learner}: {time.perf_counter() - began:.0f} s", figures)
    return streams, faulty, changes


def total_streams(
    streams: dict[str, dict[str, dict[str, Any]]], changes: Sequence[float], console: Console
) -> dict[str, Any]:
    """The totals of the drifting streams and of the controls, shown and returned."""
    content: dict[str, Any] = {}
    for title, names in (("totals", DRIFTING), ("controls", CONTROLS)):
        replayed = [
            streams[name][learner] for name in names if name in streams for learner in LEARNERS
        ]
        if replayed:
            content[title] = total(replayed)
            show(console, f"{title}: {len(replayed)} replays", content[title])
    if changes:
        loop = content["controls"]["loop"]
        content["controls_harmful"] = total_changes(changes, loop["promotions"] + loop["rejected"])
        console.print(describe_controls(content["controls_harmful"]), highlight=False)
    return content


def main(arguments: Sequence[str]) -> int:
    """Replay the streams, show the totals, write them. Without streams nothing is written."""
    options, console, began = parse(arguments), Console(), time.perf_counter()
    if not console.is_terminal:
        console = Console(width=140)
    names = find_streams(options, console)
    if not names:
        console.print(
            "nothing was measured: name a folder with the streams in CLOSEDLOOP_STREAMS",
            highlight=False,
        )
        return 0
    streams, faulty, changes = replay_all(options, names, console)
    content: dict[str, Any] = {
        "label_delay": LABEL_DELAY,
        "first_windows": FIRST_WINDOWS,
        "streams": streams,
        **total_streams(streams, changes, console),
    }
    if options.seeds:
        shuffled = [name for name in SHUFFLED if name in names]
        with console.status("shuffling ...") as status:
            content["shuffled"] = replay_shuffled(
                options.streams, shuffled, options.seeds, status.update
            )
        console.print(describe_shuffled(content["shuffled"]), highlight=False)
    if faulty:
        content["faults"] = total_faults(faulty)
        for policy, figures in content["faults"].items():
            console.print(describe_faults(policy, figures), highlight=False)
    content["seconds"] = round(time.perf_counter() - began, 1)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    console.print(f"written to {options.out}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
