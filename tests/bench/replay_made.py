"""`make bench-made`: the loop on streams whose truth is known, beside schedules."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from statistics import fmean

import pandas as pd
from rich.console import Console

from closedloop.backtest.figures import Round
from closedloop.backtest.policies import Brain, Every
from closedloop.backtest.replay import Past, Strategy, Stream, fit_first, replay
from closedloop.bundle.frames import score_frame
from closedloop.metrics.auc import measure_auc
from closedloop.training.candidates import LabelledWindow
from tests.bench.made_streams import KINDS, Kind, MadeStream, make_stream
from tests.bench.made_totals import NEVER, Lived, show, total
from tests.bench.replay_streams import LEARNERS, ROOT, make_past, true_changes
from tests.bench.replay_totals import REAL_LOSS
from tests.bench.variants import choose_variants

# Production has caught up when it is so near to a model that knows the new concept alone.
NEAR = 0.02
SCHEDULES = (8, 4, 3, 2, 1)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="bench-made", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 4], help="a stream for each")
    parser.add_argument("--rows", type=int, nargs="+", default=[1500], help="rows of a window")
    parser.add_argument("--positives", type=float, nargs="+", default=[0.3], help="their share")
    parser.add_argument("--only", action="append", choices=KINDS, help="only this kind; repeatable")
    parser.add_argument("--learner", action="append", choices=LEARNERS, help="only this one")
    parser.add_argument(
        "--variants", nargs="*", help="also the loop without one of its parts: all, or these"
    )
    parser.add_argument("--at-once", type=int, default=2, help="streams replayed side by side")
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "bench" / "made.json")
    return parser.parse_args(arguments)


def live(
    kind: Kind,
    seed: int,
    rows: int,
    positives: float,
    learner: str,
    variants: Sequence[str] | None = None,
) -> list[Lived]:
    """The schedules, the loop and some variants of it on one stream; None are no variants."""
    made = make_stream(kind, seed, rows, positives)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / f"{kind}.parquet"
        made.truth.to_parquet(table)
        past = make_past(table, learner, None)
        if made.suspect is not None:
            past = replace(past, replaced={str(made.suspect): _suspect_rows(past, made)})
        first = fit_first(past)
        policies: list[Strategy] = [Every("static", 0)]
        policies += [Every("always" if k == 1 else f"every-{k}", k) for k in SCHEDULES]
        policies.append(Brain())
        policies += choose_variants(past.use_case.policy, variants)
        rounds = {policy.name: replay(past, policy, first) for policy in policies}
        best = _find_best(past, made)
        clean = {
            policy.name: replay(replace(past, replaced={}), policy, first)
            for policy in policies
            if made.suspect is not None and isinstance(policy, Brain)
        }
        later = _read_later(past, made)
        return [
            _judge(past, made, name, found, best, clean.get(name, ()), later)
            for name, found in rounds.items()
        ]


def _judge(
    past: Past,
    made: MadeStream,
    name: str,
    rounds: Sequence[Round],
    best: dict[str, float],
    clean: Sequence[Round],
    later: LabelledWindow,
) -> Lived:
    harmful = None
    if made.kind == "none" and past.rounds():
        harmful = sum(change < -REAL_LOSS for change in true_changes(past, rounds, later))
    return Lived(
        made.kind,
        name,
        _mean(rounds),
        len(rounds),
        sum(lived.candidate is not None for lived in rounds),
        sum(lived.promoted for lived in rounds),
        sum(lived.rolled_back for lived in rounds),
        quarantined=len({window for lived in rounds for window in lived.quarantined}),
        harmful=harmful,
        caught_up=_catch_up(rounds, made, best),
        damage=_damage(rounds, clean),
    )


class _OneWindow:
    """A source of one window."""

    def __init__(self, name: str, rows: pd.DataFrame) -> None:
        self._name, self._rows = name, rows

    def windows(self) -> tuple[str, ...]:
        return (self._name,)

    def read(self, window: str) -> pd.DataFrame:
        return self._rows

    def mark(self, window: str) -> str:
        return f"later {id(self)}"


def _read_later(past: Past, made: MadeStream) -> LabelledWindow:
    """Many rows of the stream's last window, typed as the stream's are."""
    raw, target = past.stream.read(past.stream.names[-1]), past.use_case.target.column
    later = made.later.drop(columns="window").rename(columns={"target": target})
    typed = later.astype({column: raw[column].dtype for column in later})
    stream = Stream(_OneWindow("later", typed))
    index = len(past.stream.names)
    return past.compute.read_window(stream, "later", index, past.use_case, None).labelled


def _suspect_rows(past: Past, made: MadeStream) -> pd.DataFrame:
    """The window with its wrong labels, as the source would have given it."""
    name = str(made.suspect)
    raw = past.stream.read(name).copy()
    wrong = made.frame[made.frame["window"] == made.suspect]["target"].to_numpy()
    column = past.use_case.target.column
    raw[column] = pd.Series(wrong, index=raw.index).astype(raw[column].dtype)
    return raw


def _mean(rounds: Sequence[Round]) -> float:
    return fmean(lived.next_auc for lived in rounds if lived.next_auc is not None)


def _find_best(past: Past, made: MadeStream) -> dict[str, float]:
    """For each window of the new concept, the AUC of a model of all its other windows."""
    if made.changed_at is None:
        return {}
    new = [past.labelled(name) for name in past.stream.names[made.changed_at :]]
    recipe = f"{past.use_case.training.recipes[0]}/all"
    found = {}
    for window in new:
        others = tuple(other for other in new if other.name != window.name)
        model = past.compute.fit(recipe, others, past.use_case)
        auc = measure_auc(window.labels, score_frame(model, window.frame))
        if auc is not None:
            found[window.name] = auc
    return found


def _catch_up(rounds: Sequence[Round], made: MadeStream, best: dict[str, float]) -> int | None:
    """Windows of the new concept before production is near to the best; None without a change."""
    if made.changed_at is None:
        return None
    answered = [lived for lived in rounds if lived.next_window in best]
    for place, lived in enumerate(answered):
        if lived.next_auc is not None and lived.next_auc > best[lived.next_window] - NEAR:
            return place
    return NEVER


def _damage(rounds: Sequence[Round], clean: Sequence[Round]) -> float | None:
    """What the wrong labels cost at worst in one window, against the same loop without them."""
    pairs = [(lived.next_auc, other.next_auc) for lived, other in zip(rounds, clean, strict=False)]
    lost = [right - wrong for wrong, right in pairs if wrong is not None and right is not None]
    return max(lost, default=None)


def main(arguments: Sequence[str]) -> int:
    """Replay every kind of stream, show the totals and write them."""
    options, console = parse(arguments), Console(width=140)
    learners, cells = options.learner or LEARNERS, []
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(options.at_once) as pool:
        kinds = options.only or KINDS
        for kind, rows, positives in product(kinds, options.rows, options.positives):
            streams = [
                pool.submit(live, kind, seed, rows, positives, learner, options.variants)
                for seed in options.seeds
                for learner in learners
            ]
            lived = [entry for stream in streams for entry in stream.result()]
            cell = {"kind": kind, "rows": rows, "positives": positives}
            cells.append({**cell, "policies": total(lived), "lived": [asdict(e) for e in lived]})
            show(console, f"{kind}, {rows} rows, {positives:.0%} positives", total(lived))
            # After each, because a whole grid takes hours.
            options.out.write_text(json.dumps(cells, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
