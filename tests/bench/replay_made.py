"""`make bench-made`: the loop on streams whose truth is known, beside schedules."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pandas as pd
from rich.console import Console

from closedloop.backtest.figures import Round
from closedloop.backtest.policies import Brain, Every
from closedloop.backtest.replay import Past, Strategy, fit_first, replay
from closedloop.bundle.frames import score_frame
from closedloop.metrics.auc import measure_auc
from tests.bench.made_streams import KINDS, Kind, MadeStream, make_stream
from tests.bench.replay_streams import LEARNERS, ROOT, make_past

# Production has caught up when it is so near to a model that knows the new concept alone.
NEAR = 0.02
NEVER = 99


@dataclass(frozen=True)
class Lived:
    """One policy on one stream, in AUC over the rounds."""

    kind: Kind
    policy: str
    gain: float
    trainings: float
    promotions: int
    rollbacks: int
    caught_up: int | None = None
    damage: float | None = None


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="bench-made", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 4], help="one stream for each")
    parser.add_argument("--rows", type=int, default=1500, help="rows of a window")
    parser.add_argument("--positives", type=float, default=0.3, help="their share")
    parser.add_argument("--only", action="append", choices=KINDS, help="only this kind; repeatable")
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "bench" / "made.json")
    return parser.parse_args(arguments)


def live(kind: Kind, seed: int, rows: int, positives: float, learner: str) -> list[Lived]:
    """The schedules and the loop on one stream."""
    made = make_stream(kind, seed, rows, positives)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / f"{kind}.parquet"
        made.truth.to_parquet(table)
        past = make_past(table, learner, None)
        if made.suspect is not None:
            past = replace(past, replaced={str(made.suspect): _suspect_rows(past, made)})
        first = fit_first(past)
        schedules = (Every(f"every-{k}", k) for k in (1, 2, 4))
        policies: list[Strategy] = [Every("static", 0), *schedules, Brain()]
        rounds = {policy.name: replay(past, policy, first) for policy in policies}
        base = _mean(rounds["static"])
        best = _find_best(past, made)
        clean = (
            replay(replace(past, replaced={}), Brain(), first) if made.suspect is not None else ()
        )
    return [
        Lived(
            kind,
            name,
            _mean(found) - base,
            fmean(lived.candidate is not None for lived in found),
            sum(lived.promoted for lived in found),
            sum(lived.rolled_back for lived in found),
            _catch_up(found, made, best),
            _damage(found, clean) if name == "loop" else None,
        )
        for name, found in rounds.items()
    ]


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


def total(found: Sequence[Lived]) -> dict[str, dict[str, Any]]:
    """The figures of one kind by policy: share of always-retraining's gain, and what it took."""
    whole = sum(lived.gain for lived in found if lived.policy == "every-1")
    totals = {}
    for policy in dict.fromkeys(lived.policy for lived in found):
        own = [lived for lived in found if lived.policy == policy]
        caught = [lived.caught_up for lived in own if lived.caught_up is not None]
        damage = [lived.damage for lived in own if lived.damage is not None]
        totals[policy] = {
            "share": sum(lived.gain for lived in own) / whole if whole > 0.004 * len(own) else None,
            "trainings_share": fmean(lived.trainings for lived in own),
            "promotions": sum(lived.promotions for lived in own),
            "rollbacks": sum(lived.rollbacks for lived in own),
            "windows_to_catch_up": median(caught) if caught else None,
            "streams_damaged": sum(lost > NEAR for lost in damage) if damage else None,
        }
    return totals


def main(arguments: Sequence[str]) -> int:
    """Replay every kind of stream, show the totals and write them."""
    options, console = parse(arguments), Console(width=120)
    content: dict[str, Any] = {"rows": options.rows, "positives": options.positives}
    for kind in options.only or KINDS:
        found = [
            lived
            for seed in options.seeds
            for learner in LEARNERS
            for lived in live(kind, seed, options.rows, options.positives, learner)
        ]
        content[kind] = total(found)
        for policy, figures in content[kind].items():
            told = ", ".join(
                f"{name} {value:.3g}" for name, value in figures.items() if value is not None
            )
            console.print(f"{kind}, {policy}: {told}", highlight=False)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
