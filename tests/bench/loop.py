"""`make bench-loop`: what the loop keeps of always-retraining's gain, and at what cost, on real
streams and on streams without drift."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from closedloop.backtest.cache import CachedCompute
from closedloop.backtest.faults import FAULTS, applicable
from closedloop.backtest.figures import Round, measure_share
from closedloop.backtest.policies import Brain, first_recipe
from closedloop.backtest.replay import Past, Stream, fit_first, replay
from closedloop.backtest.run import Backtest, run_backtest
from closedloop.bundle.frames import score_frame
from closedloop.cli.write_use_case import write_use_case
from closedloop.metrics.auc import measure_auc
from closedloop.settings import Settings
from closedloop.training.candidates import LabelledWindow
from closedloop.windows.open_source import open_source

ROOT = Path(__file__).resolve().parents[2]
DRIFTING = ("elec2", "bank", "weather", "bike", "telco_cohort")
CONTROLS = ("control_elec2_shuffled", "control_bike_shuffled", "control_telco_cohort_shuffled")
LEARNERS = ("lightgbm", "logistic")
LABEL_DELAY, FIRST_WINDOWS = 1, 3
REAL_LOSS = 0.002
SHUFFLED = ("elec2", "bike", "telco_cohort")
HEADINGS = (
    "policy",
    "share",
    "trainings",
    "worst regret",
    "below static",
    "promoted",
    "harmful",
    "missed",
    "rejected",
)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="bench-loop", description=__doc__)
    beside = os.environ.get("CLOSEDLOOP_STREAMS") or ROOT.parent / "shared" / "data" / "streams"
    parser.add_argument(
        "--streams",
        type=Path,
        default=Path(beside),
        help="a folder of NAME.parquet with the columns window and target",
    )
    parser.add_argument(
        "--only", action="append", metavar="STREAM", help="this stream only; may be repeated"
    )
    parser.add_argument(
        "--faults",
        action="store_true",
        help="also put every fault into three windows of each drifting stream",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=0,
        help="also shuffle the rows of some streams in so many ways, and let the loop run on each",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "var" / "bench" / "loop.json",
        help="where the figures go",
    )
    return parser.parse_args(arguments)


def replay_stream(
    table: Path, learner: str, cache: Path, faults: Sequence[str] = ()
) -> tuple[Past, Backtest]:
    """All default policies on one table, described as `closedloop init` describes it, with one
    learner."""
    past = make_past(table, learner, cache)
    return past, run_backtest(
        past, faults=[one for one in faults if one in applicable(past.use_case)]
    )


def make_past(table: Path, learner: str, cache: Path | None) -> Past:
    """One table as `closedloop init` describes it, with one learner and late labels."""
    with tempfile.TemporaryDirectory() as folder:
        use_case = write_use_case(
            table,
            "target",
            Path(folder) / "loop.toml",
            key=None,
            window_column="window",
            force=False,
        )
        use_case = replace(use_case, training=replace(use_case.training, recipes=(learner,)))  # type: ignore[arg-type]
        use_case = replace(use_case, labels=replace(use_case.labels, delay_windows=LABEL_DELAY))
        return Past(Stream(open_source(use_case)), use_case, CachedCompute(cache), FIRST_WINDOWS)


def true_changes(past: Past, rounds: Sequence[Round]) -> list[float]:
    """What each promotion of a stream without drift changed in AUC, on all rows that came later:
    there they are all alike."""
    first = past.stream.names[: past.first]
    models: dict[int, tuple[str, Sequence[str]]] = {1: (first_recipe(past.use_case), first)}
    changes, before = [], 1
    for one in rounds:
        if one.candidate is not None:
            models[one.candidate] = one.recipe, one.trained_on
        later = [
            past.labelled(name)
            for name in past.stream.names[past.stream.names.index(one.window) + 1 :]
        ]
        if one.promoted:
            labels = np.concatenate([rows.labels for rows in later])
            aucs = [
                measure_auc(
                    labels, np.concatenate([_ask(past, *models[number], rows) for rows in later])
                )
                for number in (one.production, before)
            ]
            changes.append((aucs[0] or 0.0) - (aucs[1] or 0.0))
        before = one.production
    return changes


def _ask(past: Past, recipe: str, trained_on: Sequence[str], rows: LabelledWindow) -> np.ndarray:
    fitted = past.compute.fit(
        recipe, tuple(past.labelled(name) for name in trained_on), past.use_case
    )
    return score_frame(fitted, rows.frame)


def replay_shuffled(
    streams: Path, names: Sequence[str], seeds: int, report: Callable[[str], object]
) -> dict[str, Any]:
    """The loop on rows in random order, each order another history without drift: how often it
    trains, and what it ships for nothing."""
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
        decisions += sum(one.candidate is not None for one in lived)
    harmful = sum(one < -REAL_LOSS for one in changes)
    return {
        "histories": len(names) * len(LEARNERS) * seeds,
        "rounds": len(rounds),
        "decisions": decisions,
        "promotions": len(changes),
        "harmful": harmful,
        "worst": min(changes, default=0.0),
        "trainings_share": decisions / len(rounds),
    }


def total_faults(found: Sequence[Backtest]) -> dict[str, dict[str, Any]]:
    """The faulty windows of several streams, by policy that looks, or ships all."""
    totals: dict[str, dict[str, Any]] = {}
    for policy in (one.policy for one in found[0].faults):
        cases = [case for one in found for case in one.fault_cases if case.policy == policy]
        rounds = [one for every in found for one in every.rounds[policy]]
        quarantined = sum(
            len({window for one in every.rounds[policy] for window in one.quarantined})
            for every in found
        )
        totals[policy] = {
            "cases": len(cases),
            "shipped": sum(one.shipped for one in cases),
            "harmful": sum(one.harmful for one in cases),
            "harmful_share": sum(one.harmful for one in cases) / len(cases),
            "clean_windows": len(rounds),
            "clean_quarantined": quarantined,
            "clean_escalated": sum("escalate" in one.actions for one in rounds),
        }
    return totals


def total(found: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Over several streams, by policy: shares of summed gains, sums of counts, and the worst of
    what must not happen anywhere."""
    totals = {}
    for policy in found[0]:
        ones, static, always = (
            [one[name] for one in found] for name in (policy, "static", "always")
        )
        gain, whole = (
            sum(a["mean_auc"] - b["mean_auc"] for a, b in zip(side, static, strict=True))
            for side in (ones, always)
        )
        sums = {
            name: sum(one[name] for one in ones)
            for name in (
                "rounds",
                "trainings",
                "promotions",
                "rejected",
                "rollbacks",
                "harmful",
                "missed",
            )
        }
        totals[policy] = {
            "share": measure_share(gain, whole),
            "trainings_share": sums["trainings"] / sums["rounds"],
            "worst_regret": max(one["worst_regret"] for one in ones),
            "below_static": max(0.0, *(one["below_static"] for one in ones)),
            "harmful_share": sums["harmful"] / sums["promotions"] if sums["promotions"] else None,
            "missed_share": sums["missed"] / sums["rounds"],
            **sums,
        }
    return totals


def show(console: Console, title: str, totals: Mapping[str, Mapping[str, Any]]) -> None:
    """A line a policy."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for place, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    for name, one in totals.items():
        share = "-" if one["share"] is None else f"{one['share']:.3f}"
        table.add_row(
            name,
            share,
            f"{one['trainings_share']:.0%}",
            f"{one['worst_regret']:.4f}",
            f"{max(0.0, one['below_static']):.4f}",
            str(one["promotions"]),
            str(one["harmful"]),
            str(one["missed"]),
            str(one["rejected"]),
        )
    console.print(table)


def main(arguments: Sequence[str]) -> int:
    """Replay, show, write; streams that are not there are named and left out, and without any
    nothing is written."""
    options, console, began = parse(arguments), Console(), time.perf_counter()
    if not console.is_terminal:
        console = Console(width=120)
    wanted = [one for one in (*DRIFTING, *CONTROLS) if not options.only or one in options.only]
    there = [one for one in wanted if (options.streams / f"{one}.parquet").is_file()]
    if missing := [one for one in wanted if one not in there]:
        console.print(
            f"skipped, because {options.streams} has no such file: {', '.join(missing)}",
            highlight=False,
        )
    if not there:
        console.print(
            "nothing was measured: name a folder with the streams in CLOSEDLOOP_STREAMS",
            highlight=False,
        )
        return 0
    cache = Settings().home_folder / "bench" / "loop_cache"
    streams: dict[str, dict[str, dict[str, Any]]] = {}
    faulty: list[Backtest] = []
    changes: list[float] = []
    for name in there:
        for learner in LEARNERS:
            began = time.perf_counter()
            with console.status(f"{name}, {learner} ..."):
                tried = tuple(FAULTS) if options.faults and name in DRIFTING else ()
                past, found = replay_stream(
                    options.streams / f"{name}.parquet", learner, cache, tried
                )
            faulty += [found] if found.faults else []
            if name in CONTROLS:
                changes += true_changes(past, found.rounds["loop"])
            figures = {one.policy: asdict(one) for one in found.figures}
            streams.setdefault(name, {})[learner] = figures
            show(console, f"{name}, {learner}: {time.perf_counter() - began:.0f} s", figures)
    content: dict[str, Any] = {
        "label_delay": LABEL_DELAY,
        "first_windows": FIRST_WINDOWS,
        "streams": streams,
    }
    for title, names in (("totals", DRIFTING), ("controls", CONTROLS)):
        replayed = [
            streams[name][learner] for name in names if name in streams for learner in LEARNERS
        ]
        if replayed:
            content[title] = total(replayed)
            show(console, f"{title}: {len(replayed)} replays", content[title])
    if changes:
        decisions = (
            content["controls"]["loop"]["promotions"] + content["controls"]["loop"]["rejected"]
        )
        harmful = sum(one < -REAL_LOSS for one in changes)
        content["controls_harmful"] = {
            "promotions": len(changes),
            "decisions": decisions,
            "harmful": harmful,
            "worst": min(changes),
        }
        console.print(
            f"without drift: {harmful} of {decisions} decisions promoted what was worse by more than {REAL_LOSS}, "
            f"on all later rows (worst {min(changes):+.4f})",
            highlight=False,
        )
    if options.seeds:
        with console.status("shuffling ...") as status:
            content["shuffled"] = one = replay_shuffled(
                options.streams,
                [one for one in SHUFFLED if one in there],
                options.seeds,
                status.update,
            )
        console.print(
            f"{one['histories']} shuffled histories: {one['trainings_share']:.0%} of {one['rounds']} windows trained; "
            f"{one['harmful']} of {one['decisions']} decisions promoted what was worse by more than {REAL_LOSS} "
            f"(worst {one['worst']:+.4f})",
            highlight=False,
        )
    if faulty:
        content["faults"] = total_faults(faulty)
        for policy, one in content["faults"].items():
            console.print(
                f"{policy}: {one['shipped']} of {one['cases']} faulty windows taught a model that answered, "
                f"{one['harmful']} at a cost of more than 0.02 AUC ({one['harmful_share']:.1%}); of {one['clean_windows']} "
                f"clean ones {one['clean_quarantined']} were quarantined, {one['clean_escalated']} escalated",
                highlight=False,
            )
    content["seconds"] = round(time.perf_counter() - began, 1)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    console.print(f"written to {options.out}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
