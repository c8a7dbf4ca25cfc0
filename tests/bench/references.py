"""`make bench-references`: how often windows drift, by what they are compared with."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from closedloop.backtest.cache import CachedCompute
from closedloop.backtest.figures import PolicyFigures, measure_policies
from closedloop.backtest.policies import Brain, Every
from closedloop.backtest.replay import Past, fit_first, replay
from closedloop.decisions.drift_policy import DriftPolicy
from closedloop.decisions.drift_report import DriftReport
from closedloop.metrics.drift import measure_drift
from tests.bench.replay_streams import ROOT, add_streams_option, make_past

SEASON, WINDOWS, CHANGES_AT = 12, 48, 36
SIZES = (300, 1_500, 8_000)
MOST_WINDOWS = 64
# Rows of a window where the file's own windows know no season, and the windows of a season.
REAL = {"bike": (None, 12), "weather": (91, 4), "control_bike_shuffled": (None, 12)}
NUMERIC, CATEGORICAL = ["warmth", "spend", "visits", "noise"], ["plan", "region", "target"]


@dataclass(frozen=True)
class Counted:
    """Windows that could be compared with last season's, by one reference.

    `over` are those whose drift_share was over its limit, `any_column` those with any drifted
    column; `columns` is how often each one drifted, `asked` how often predictions were compared.
    """

    stream: str
    reference: str
    windows: int
    over: int
    any_column: int
    asked: int
    columns: dict[str, int]


class Noting(CachedCompute):
    """Computes as a replay does, and keeps every drift report."""

    def __init__(self) -> None:
        super().__init__()
        self.reports: list[DriftReport] = []

    def measure_drift(
        self, reference: pd.DataFrame, current: pd.DataFrame, **options: Any
    ) -> tuple[DriftReport, Callable[[], None]]:
        """As a replay, noted."""
        report, page = super().measure_drift(reference, current, **options)
        self.reports.append(report)
        return report, page


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="bench-references", description=__doc__)
    add_streams_option(parser)
    parser.add_argument("--seeds", type=int, default=2, help="generated streams of each kind")
    parser.add_argument("--rows", type=int, default=1_000, help="rows of a generated window")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of windows without drift")
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "var" / "bench" / "references.json",
        help="where the figures go",
    )
    return parser.parse_args(arguments)


def make_window(rows: int, month: float, draw: np.random.Generator, more: float = 0) -> Any:
    """Rows of one month of a year that repeats itself; `more` is spent where something changed."""
    turn = 2 * np.pi * month / SEASON
    warmth = 15 + 10 * np.sin(turn) + 4 * draw.normal(size=rows)
    noise = draw.normal(size=rows)
    share = 0.15 * np.sin(turn)
    return pd.DataFrame(
        {
            "warmth": warmth,
            "spend": np.exp(3 + 0.4 * np.cos(turn) + 0.8 * draw.normal(size=rows)) * (1 + more),
            "visits": draw.poisson(np.exp(1 + 0.3 * np.sin(turn) + more), rows).astype(float),
            "noise": noise + more,
            "plan": draw.choice(list("abc"), rows, p=[0.4 + share, 0.3, 0.3 - share]),
            "region": draw.choice(list("xyz"), rows, p=[0.5, 0.3, 0.2]),
            "target": (
                draw.random(rows) < 1 / (1 + np.exp(-(0.1 * (warmth - 15) - 1 + noise)))
            ).astype(int),
        }
    )


def make_stream(folder: Path, name: str, rows: int, seed: int, changes: bool) -> Path:
    """Four years, every one as the first; in one that changes the last year is another."""
    draw = np.random.default_rng(seed)
    frames = [
        make_window(
            rows, month % SEASON, draw, 0.5 if changes and month >= CHANGES_AT else 0.0
        ).assign(window=month)
        for month in range(WINDOWS)
    ]
    path = folder / f"{name}.parquet"
    pd.concat(frames, ignore_index=True).to_parquet(path)
    return path


def cut(streams: Path, name: str, rows: int | None, folder: Path) -> Path:
    """A real stream in its own windows, or in windows of so many rows."""
    frame = pd.read_parquet(streams / f"{name}.parquet")
    if rows is not None:
        whole = min(len(frame) // rows, MOST_WINDOWS) * rows
        frame = frame.iloc[:whole].assign(window=np.arange(whole) // rows)
    path = folder / f"{name}.parquet"
    frame.to_parquet(path)
    return path


def compare(path: Path, season: int) -> Iterator[tuple[Counted, PolicyFigures]]:
    """The loop on one stream, once for each reference; only drift may ask for a training."""
    past = make_past(path, "logistic", None)
    first = fit_first(past)
    ends = {name: replay(past, Every(name, rounds), first) for name, rounds in ENDS.items()}
    for reference in ("training", "previous", f"season:{season}"):
        policy = past.use_case.policy
        policy = replace(
            policy,
            drift=replace(policy.drift, reference=reference),
            retraining=replace(policy.retraining, age_trigger=False, auc_loss_trigger=False),
        )
        noting = Noting()
        rounds = replay(replace(past, compute=noting), Brain("loop", policy), first)
        figures = measure_policies({**ends, "loop": rounds}, list(ENDS))
        yield count(past, path.stem, reference, season, noting.reports), figures[-1]


ENDS = {"static": 0, "always": 1}


def count(
    past: Past, stream: str, reference: str, season: int, reports: Sequence[DriftReport]
) -> Counted:
    """Of the windows that have one a season before them, whatever they were compared with."""
    limit = past.use_case.policy.retraining.max_drift_share
    seen = {report.current: report for report in reports}
    judged = [seen[name] for name in past.stream.names[season:] if name in seen]
    columns: dict[str, int] = {}
    for report in judged:
        for column in report.drifted_columns:
            columns[column] = columns.get(column, 0) + 1
    return Counted(
        stream,
        reference,
        len(judged),
        sum((report.drift_share or 0.0) > limit for report in judged),
        sum(bool(report.drifted_columns) for report in judged),
        sum(
            column.score is not None and column.column == "(prediction)"
            for report in judged
            for column in report.columns
        ),
        dict(sorted(columns.items(), key=lambda found: -found[1])),
    )


def count_false_alarms(pairs: int) -> Iterator[dict[str, Any]]:
    """Windows of one month against one more such window, and as against training rows of five."""
    for rows in SIZES:
        for times in (1, 5):
            draw = np.random.default_rng([rows, times])
            alarms = sum(
                bool(
                    measure_drift(
                        make_window(rows * times, pair % SEASON, draw),
                        make_window(rows, pair % SEASON, draw),
                        numeric=NUMERIC,
                        categorical=CATEGORICAL,
                        policy=DriftPolicy(),
                        reference_name="before",
                        current_name="now",
                        seed=pair,
                        limits_from_both=times == 1,
                    )[0].drifted_columns
                )
                for pair in range(pairs)
            )
            yield {"rows": rows, "reference_rows": rows * times, "pairs": pairs, "alarms": alarms}


def find_tables(options: argparse.Namespace, folder: Path) -> Iterator[tuple[Path, int]]:
    """The generated streams, then the real ones that have a file; each with its season."""
    for name, changes in (("repeats", False), ("changes", True)):
        for seed in range(2, 2 * options.seeds + 1, 2):  # odd seeds are what limits were chosen on
            stream = f"{name} {seed}"
            yield make_stream(folder, stream, options.rows, seed, changes), SEASON
    for name, (rows, season) in REAL.items():
        if (options.streams / f"{name}.parquet").is_file():
            yield cut(options.streams, name, rows, folder), season


def show(console: Console, title: str, headings: Sequence[str], rows: Sequence[Any]) -> None:
    """A table."""
    table = Table(*headings, title=title, title_justify="left", box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*map(str, row))
    console.print(table)


HEADINGS = ("reference", "windows", "over", "any column", "predictions", "trainings", "share")


def describe(counted: Counted, figures: PolicyFigures) -> tuple[Any, ...]:
    """A line under HEADINGS; the share is that of what always retraining gains."""
    share = "-" if figures.share is None else f"{figures.share:.2f}"
    seen = counted.reference, counted.windows, counted.over, counted.any_column, counted.asked
    return (*seen, figures.trainings, share)


def main(arguments: Sequence[str]) -> int:
    """Count both, show them, write them."""
    options, console, began = parse(arguments), Console(width=120), time.perf_counter()
    found: list[tuple[Counted, PolicyFigures]] = []
    with tempfile.TemporaryDirectory() as folder:
        for path, season in find_tables(options, Path(folder)):
            with console.status(f"{path.stem} ..."):
                compared = list(compare(path, season))
            show(console, path.stem, HEADINGS, [describe(*each) for each in compared])
            found += compared
    with console.status("windows without drift ..."):
        alarms = list(count_false_alarms(options.pairs))
    show(
        console,
        "any column drifted, where none does",
        list(alarms[0]),
        [tuple(line.values()) for line in alarms],
    )
    content = {
        "streams": [{**asdict(counted), **asdict(figures)} for counted, figures in found],
        "false_alarms": alarms,
        "seconds": round(time.perf_counter() - began, 1),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    console.print(f"written to {options.out}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
