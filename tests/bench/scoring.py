"""`make bench-scoring`: how long the paired DeLong interval takes, and how often it errs where two
models are equally good."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd

from closedloop.decisions.auc_loss import loss_over_limit
from closedloop.decisions.evidence import LoopState, RetrainingEvidence, Window
from closedloop.decisions.policy import Policy
from closedloop.metrics.auc import estimate_auc, measure_auc, measure_auc_error, measure_delta
from closedloop.metrics.comparison import measure_slices
from closedloop.use_case.contract import Slice
from tests.made_answers import Floats, Labels, binary, equal_models, rows_of_customers

CONFIDENCE = 0.95
ROWS = (10_000, 100_000, 1_000_000)
# Rows and rows of the rare class: whole windows, and then slices of 100 rows.
SIZES = (
    (200, 80),
    (200, 20),
    (2000, 800),
    (2000, 20),
    (100, 2),
    (100, 3),
    (100, 5),
    (100, 10),
    (100, 20),
    (100, 30),
)
SLICES = (1, 2, 5, 10)
LOSS_ROWS = (400, 700, 1500)
CUSTOMERS = (10, 30, 100, 300)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; exits with a sentence when they cannot be obeyed."""
    parser = argparse.ArgumentParser(prog="bench-scoring", description=__doc__)
    parser.add_argument(
        "--rows",
        type=int,
        nargs="+",
        default=ROWS,
        help="windows to take the time of (default 10000 100000 1000000)",
    )
    parser.add_argument(
        "--repetitions", type=int, default=15, help="how often each time is taken (default 15)"
    )
    parser.add_argument(
        "--comparisons",
        type=int,
        default=4000,
        help="how many pairs of equal models are compared (default 4000)",
    )
    options = parser.parse_args(arguments)
    if options.repetitions < 1 or options.comparisons < 1 or min(options.rows) < 4:
        parser.error("--repetitions and --comparisons must be at least 1, and --rows at least 4")
    return options


def _times(work: Callable[[], object], repetitions: int) -> str:
    """Best and median, in milliseconds; one call to warm up."""
    work()
    took = []
    for _ in range(repetitions):
        start = perf_counter()
        work()
        took.append(1000 * (perf_counter() - start))
    return f"{min(took):8.1f} | {median(took):8.1f}"


def show_times(windows: Sequence[int], repetitions: int) -> None:
    """The interval of two models of two classes, without ties and with a thousand values, and the
    sort by itself."""
    print("| rows | what | best ms | median ms |\n|--:|---|--:|--:|")
    for rows in windows:
        for decimals, ties in ((16, "no ties"), (3, "1,001 values")):
            labels, candidate = binary(rows, 1, decimals)
            production = binary(rows, 2, decimals)[1]
            print(f"| {rows:,} | measure_delta, {ties} | ", end="")
            print(
                _times(
                    lambda ours=candidate, theirs=production, y=labels: measure_delta(
                        y, ours, theirs, CONFIDENCE
                    ),
                    repetitions,
                ),
                "|",
            )
            scores = np.ascontiguousarray(candidate[:, 1])
            for kind in ("quicksort", "stable", "heapsort"):
                print(f"| {rows:,} | one argsort, {kind}, {ties} | ", end="")
                print(
                    _times(
                        lambda values=scores, how=kind: np.argsort(values, kind=how), repetitions
                    ),
                    "|",
                )


def show_errors(comparisons: int) -> None:
    """How often two equally good models differ at 5 %, two-sided, and how often one seems harmed,
    at 2.5 %, which is what gates ask."""
    print(
        "\n| rows | of the rare class | differ, of 5 % | harmed, of 2.5 % "
        "| two good models: no width |\n|--:|--:|--:|--:|--:|"
    )
    for rows, rare in SIZES:
        labels = (np.arange(rows) < rare).astype(np.int64)
        found = [
            measure_delta(labels, *equal_models(labels, seed), CONFIDENCE)
            for seed in range(comparisons)
        ]
        strong = [
            measure_delta(labels, *equal_models(labels, seed, strength=3.0), CONFIDENCE)
            for seed in range(comparisons)
        ]
        differ = np.mean(
            [not interval.lower <= 0 <= interval.upper for interval in found if interval]
        )
        harmed = np.mean([interval.upper < 0 for interval in found if interval])
        sure = np.mean([interval.lower == interval.upper for interval in strong if interval])
        print(
            f"| {rows:,} | {rare} | {100 * differ:.1f} % | {100 * harmed:.1f} % "
            f"| {100 * sure:.1f} % |"
        )


def show_slices(comparisons: int) -> None:
    """How often a candidate as good as production seems to harm any of several protected slices of
    200 rows."""
    print("\n| protected slices | any seems harmed | without the correction |\n|--:|--:|--:|")
    for count in SLICES:
        at = np.arange(200 * count)
        frame, labels = pd.DataFrame({"plan": at % count}), (at // count % 5 < 2).astype(np.int64)
        slices = tuple(
            Slice(f"plan {plan}", "plan", minimum=plan, maximum=plan + 1, protected=True)
            for plan in range(count)
        )
        together, alone = [], []
        for seed in range(comparisons):
            models = equal_models(labels, seed)
            together.append(
                any(
                    measured.delta.upper < 0
                    for measured in measure_slices(frame, slices, labels, *models, CONFIDENCE)
                    if measured.delta
                )
            )
            each = (
                measure_slices(frame, (protected,), labels, *models, CONFIDENCE)[0].delta
                for protected in slices
            )
            alone.append(any(interval.upper < 0 for interval in each if interval))
        print(f"| {count} | {100 * np.mean(together):.1f} % | {100 * np.mean(alone):.1f} % |")


def loss_fires(rows: int, candidates: int, seed: int) -> tuple[bool, bool]:
    """Whether the loss trigger fires on a window of this size in which nothing changed.

    Production, with a true AUC of 0.80 and a fifth of positives, was the best of so many equally
    good candidates on another window as large, and was promoted with its val_auc there. First with
    the error of the realised AUC only, then with both errors.
    """
    rng = np.random.default_rng(seed)

    def answers(count: int) -> tuple[Labels, list[Floats]]:
        labels = (rng.random(rows) < 0.2).astype(np.int64)
        common = 1.4 * labels + rng.normal(size=rows)
        scores = [common + 0.6 * rng.normal(size=rows) for _ in range(count)]
        return labels, [np.column_stack([-score, score]) for score in scores]

    labels, models = answers(candidates)
    promoted = max(models, key=lambda model: measure_auc(labels, model) or 0.0)
    realised_labels, (realised,) = answers(1)
    state = LoopState(production=1, expected_auc=measure_auc(labels, promoted))
    both = replace(state, expected_auc_error=measure_auc_error(labels, promoted))
    auc = estimate_auc(realised_labels, realised, CONFIDENCE)
    window = Window("now", 1, rows, rows, (), "")
    alone, together = (
        loss_over_limit(RetrainingEvidence(window, known, realised_auc=auc), Policy())
        for known in (state, both)
    )
    return bool(alone), bool(together)


def show_losses(windows: int) -> None:
    """How often the loss trigger fires where nothing changed."""
    print(
        "\n| rows | chosen from | error of the realised AUC only | both errors |\n|--:|--:|--:|--:|"
    )
    for rows in LOSS_ROWS:
        for candidates in (1, 4):
            fired = [loss_fires(rows, candidates, seed) for seed in range(windows)]
            alone, both = np.mean(fired, axis=0)
            print(f"| {rows:,} | {candidates} | {100 * alone:.1f} % | {100 * both:.1f} % |")


def show_groups(comparisons: int) -> None:
    """How often two equally good models differ at 5 % where customers have several rows."""
    print(
        "\n| customers | rows of each | positives | customers with one | rows as independent "
        "| customers as one |\n|--:|---|--:|--:|--:|--:|"
    )
    for unequal in (False, True):
        for share in (0.3, 0.05):
            for customers in CUSTOMERS:
                found = [
                    groups_differ(customers, share, 2 * number, unequal=unequal)
                    for number in range(comparisons)
                ]
                known = [pair for pair in found if pair is not None] or [(0, np.nan, np.nan)]
                having, independent, together = np.mean(known, axis=0)
                print(
                    f"| {customers} | {'1 to about 60' if unequal else '10'} | {100 * share:.0f} % "
                    f"| {having:.0f} | {100 * independent:.1f} % | {100 * together:.1f} % |"
                )


def groups_differ(
    customers: int, share: float, seed: int, *, unequal: bool
) -> tuple[int, bool, bool] | None:
    """Customers with a positive, and whether two equally good models differ, with rows as
    independent and with customers as one; None where an interval is unknown."""
    labels, groups, *models = rows_of_customers(customers, share, seed, unequal=unequal)
    rows = measure_delta(labels, *models, CONFIDENCE)
    together = measure_delta(labels, *models, CONFIDENCE, groups=groups)
    if rows is None or together is None:
        return None
    return (
        int(together.groups or 0),
        not rows.lower <= 0 <= rows.upper,
        not together.lower <= 0 <= together.upper,
    )


def main(arguments: Sequence[str]) -> int:
    """Print everything as the tables of docs/decisions.md."""
    options = parse(arguments)
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, "
        f"numpy {np.__version__}\n"
    )
    show_times(options.rows, options.repetitions)
    show_errors(options.comparisons)
    show_slices(options.comparisons)
    show_losses(options.comparisons)
    show_groups(options.comparisons)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
