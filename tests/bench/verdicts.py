"""`python -m tests.bench.verdicts`: drift of large windows judged on a sample and on all rows.

Pairs of windows with 18 watched columns, of which some moved a little, some far. For each column
both verdicts are compared; `--rows` rows a side, `--pairs` pairs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from closedloop.decisions.drift_policy import DriftPolicy
from closedloop.decisions.drift_report import DriftReport
from closedloop.metrics.drift import measure_drift

NUMERIC, CATEGORICAL = 12, 6


def make_pair(rows: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two windows; each column of the second moved by chance: not at all, a little or far."""
    draw = np.random.default_rng(seed)
    moves = draw.choice([0.0, 0.0, 0.05, 0.1, 0.2, 0.5], NUMERIC + CATEGORICAL)
    sides: list[dict[str, np.ndarray]] = [{}, {}]
    for place, move in enumerate(moves):
        for side, columns in enumerate(sides):
            shift = move * side
            if place < NUMERIC:
                kinds = (draw.normal, draw.lognormal)
                columns[f"n{place}"] = kinds[place % 2](shift, 1.0, rows)
            else:
                shares = np.arange(1.0, 3.0 + 2 * (place - NUMERIC))
                shares[0] *= 1 + 2 * shift
                names = np.array([f"c{number}" for number in range(len(shares))], dtype=object)
                columns[f"t{place}"] = draw.choice(names, rows, p=shares / shares.sum())
    return pd.DataFrame(sides[0]), pd.DataFrame(sides[1])


def judge(pair: tuple[pd.DataFrame, pd.DataFrame], policy: DriftPolicy) -> DriftReport:
    """The pair compared under a policy."""
    reference, current = pair
    report, _ = measure_drift(
        reference,
        current,
        numeric=[name for name in reference if name.startswith("n")],
        categorical=[name for name in reference if name.startswith("t")],
        policy=policy,
        reference_name="reference",
        current_name="current",
        seed=1,
    )
    return report


def main(arguments: Sequence[str]) -> int:
    """Count and print the columns whose verdict differs."""
    parser = argparse.ArgumentParser(prog="verdicts", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=50)
    options = parser.parse_args(arguments)
    compared = differ = drifted = 0
    sampled, whole = 0.0, 0.0
    for seed in range(options.pairs):
        pair = make_pair(options.rows, seed)
        began = time.process_time()
        ours = judge(pair, DriftPolicy())
        sampled += time.process_time() - began
        began = time.process_time()
        every = judge(pair, replace(DriftPolicy(), sample_rows=options.rows))
        whole += time.process_time() - began
        for column, other in zip(ours.columns, every.columns, strict=True):
            compared += 1
            drifted += bool(other.drifted)
            if column.drifted is not other.drifted:
                differ += 1
                print(
                    f"pair {seed}, {column.column}: {column.score:.4f} of {column.limit:.4f} on "
                    f"the sample, {other.score:.4f} of {other.limit:.4f} on all rows",
                    flush=True,
                )
    print(
        f"{options.pairs} pairs of {options.rows:,} rows: {differ} of {compared} verdicts differ "
        f"({drifted} drifted on all rows); {sampled / options.pairs:.1f} and "
        f"{whole / options.pairs:.1f} s of the processor a pair"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
