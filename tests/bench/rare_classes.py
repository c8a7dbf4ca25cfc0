"""`make bench-rare`: what gates and quarantine do with few rows of a class: how often a clean
window is kept out, a broken one caught, and a worse candidate promoted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from math import inf

import numpy as np

from closedloop.decisions.checks import Action
from closedloop.decisions.evidence import Estimate
from closedloop.decisions.label_evidence import QuarantineEvidence
from closedloop.decisions.policy import Policy
from closedloop.decisions.quarantine import decide_quarantine
from closedloop.metrics.auc import estimate_auc, measure_delta
from tests.made_answers import Floats, Labels

CONFIDENCE, SHARE = 0.95, 0.01
STRENGTH = 1.19  # of normal scores: an AUC of 0.80
WINDOWS = (300, 1500, 8000)
FAULTS = ("none", "classes swapped", "40 % flipped", "labels of other rows")
POSITIVES = (3, 10, 15, 20, 30, 80)
# A strength lost, as scores lose it: AUCs of 0.80, 0.75 and 0.70.
LOSSES = ((0.0, 0.80), (0.236, 0.75), (0.448, 0.70))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; exits with a sentence when they cannot be obeyed."""
    parser = argparse.ArgumentParser(prog="bench-rare", description=__doc__)
    parser.add_argument("--windows", type=int, default=2000, help="windows a line (default 2000)")
    options = parser.parse_args(arguments)
    if options.windows < 1:
        parser.error("--windows must be at least 1")
    return options


def draw_window(rng: np.random.Generator, rows: int, fault: str) -> tuple[Labels, Floats]:
    """Labels, as a fault leaves them, and probabilities of a model with an AUC of 0.80."""
    labels = (rng.random(rows) < SHARE).astype(np.int64)
    scores = STRENGTH * labels + rng.normal(size=rows)
    if fault == "classes swapped":
        labels = 1 - labels
    elif fault == "40 % flipped":
        labels = np.where(rng.random(rows) < 0.4, 1 - labels, labels)
    elif fault == "labels of other rows":
        labels = rng.permutation(labels)
    positive = 1 / (1 + np.exp(-scores))
    return labels, np.column_stack([1 - positive, positive])


def kept_out(seed: int, rows: int, memory: int, fault: str) -> tuple[bool, bool]:
    """Whether a window is quarantined after so many clean ones: by values alone, and with errors.

    By values is how it was decided before: the AUC by the interval of the window alone, odds by
    their ratio. A window without two rows of each class is never judged.
    """
    rng = np.random.default_rng(seed)
    earlier = [draw_window(rng, rows, "none") for _ in range(memory)]
    expected = estimate_auc(*draw_window(rng, rows, "none"), CONFIDENCE)
    labels, answers = draw_window(rng, rows, fault)
    realised = estimate_auc(labels, answers, CONFIDENCE)
    if realised is None:
        return False, False
    known = [auc for each in earlier if (auc := estimate_auc(*each, CONFIDENCE))]
    counts, before = _count(labels), tuple(_count(each) for each, _ in earlier)
    decision = decide_quarantine(
        QuarantineEvidence(
            window="now",
            production=1,
            realised_auc=realised,
            earlier_aucs=tuple(auc.value for auc in known),
            earlier_errors=tuple(map(_error, known)),
            expected_auc=expected.value if expected else None,
            expected_auc_error=_error(expected) if expected else None,
            label_counts=counts,
            earlier_label_counts=before,
        ),
        Policy(),
    )
    compared = [auc.value for auc in known]
    if len(compared) < 3 and expected is not None:
        compared.append(expected.value)
    worst = min(compared, default=inf)
    by_auc = worst < inf and realised.upper < worst - 0.10
    by_odds = min(abs(np.log(_odds(counts) / _odds(each))) for each in before) > np.log(8)
    return bool(by_auc or by_odds), decision.action is Action.QUARANTINE


def _count(labels: Labels) -> tuple[int, ...]:
    return tuple(np.bincount(labels, minlength=2).tolist())


def _odds(counts: tuple[int, ...]) -> float:
    return (counts[1] + 0.5) / (counts[0] + 0.5)


def _error(auc: Estimate) -> float:
    return (auc.value - auc.lower) / 1.959964


def show_quarantines(windows: int) -> None:
    """How often windows with 1 % of positives are kept out."""
    print("| rows | windows before | fault | values alone | with errors |\n|--:|--:|---|--:|--:|")
    for rows in WINDOWS:
        for memory in (1, 3):
            for fault in FAULTS:
                drawn = [kept_out(2 * seed, rows, memory, fault) for seed in range(windows)]
                alone, errors = 100 * np.mean(drawn, axis=0)
                print(f"| {rows:,} | {memory} | {fault} | {alone:.1f} % | {errors:.1f} % |")


def passes(seed: int, positives: int, lost: float) -> bool:
    """Whether a refit that lost so much passes as not significantly worse."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(100 * positives) < positives).astype(np.int64)
    noise = rng.normal(size=len(labels))
    ours, theirs = (
        strength * labels + noise + 0.3 * rng.normal(size=len(labels))
        for strength in (STRENGTH - lost, STRENGTH)
    )
    delta = measure_delta(
        labels, np.column_stack([-ours, ours]), np.column_stack([-theirs, theirs]), CONFIDENCE
    )
    return delta is None or delta.upper >= 0


def show_gates(comparisons: int) -> None:
    """How often a refit passes the gate, by what it lost and the positives that judge."""
    print("\n| positives | as good | AUC 0.75 for 0.80 | AUC 0.70 for 0.80 |\n|--:|--:|--:|--:|")
    for positives in POSITIVES:
        shares = [
            100 * np.mean([passes(2 * seed, positives, lost) for seed in range(comparisons)])
            for lost, _ in LOSSES
        ]
        print(f"| {positives} | " + " | ".join(f"{share:.0f} %" for share in shares) + " |")


def main(arguments: Sequence[str]) -> int:
    """Print everything as the tables of docs/decisions.md."""
    options = parse(arguments)
    show_gates(options.windows)
    show_quarantines(options.windows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
