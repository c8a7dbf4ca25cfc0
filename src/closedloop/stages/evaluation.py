"""How the chosen twin did on the evaluation rows: numbers and points of plots, for DVC to show.

Numbers are rounded to DECIMALS, below which another machine may differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from closedloop.bundle.files import write_json
from closedloop.bundle.frames import score_frame
from closedloop.metrics.curves import measure_curves
from closedloop.metrics.importance import measure_importance
from closedloop.metrics.threshold import answer_classes
from closedloop.registry.data_inputs import hash_data
from closedloop.turn.candidate import Candidate
from closedloop.turn.run_metrics import describe_comparison
from closedloop.use_case.contract import UseCase

DECIMALS = 6


def write_evaluation(candidate: Candidate, use_case: UseCase, folder: Path) -> None:
    """Write `metrics.json` and a folder `plots` of CSV files."""
    plots, judged = folder / "plots", candidate.split.evaluation
    for kind in ("roc", "precision_recall", "calibration"):
        (plots / kind).mkdir(parents=True, exist_ok=True)
    classes = use_case.target.classes
    for kind, label, points in measure_curves(judged.labels, candidate.honest_predictions, classes):
        _write_table(points, plots / kind / f"{quote(label, safe=' ')}.csv")
    answers = answer_classes(candidate.honest_predictions, candidate.chosen.threshold)
    names = np.array(classes, dtype=object)
    confusion = pd.DataFrame({"actual": names[judged.labels], "predicted": names[answers]})
    _write_table(confusion, plots / "confusion.csv")
    _write_table(_measure_importance(candidate, use_case), plots / "importance.csv")
    write_json(folder / "metrics.json", _describe(candidate))


def _measure_importance(candidate: Candidate, use_case: UseCase) -> pd.DataFrame:
    judged = candidate.split.evaluation
    found = measure_importance(
        judged.frame,
        judged.labels,
        tuple(use_case.columns),
        partial(score_frame, candidate.twin),
        None,
        window=judged.name,
        seed=use_case.training.seed,
    )
    columns = () if found is None else found.columns
    return pd.DataFrame(
        [(each.column, each.loss, each.error) for each in columns],
        columns=["column", "auc_lost", "error"],
    )


def _describe(candidate: Candidate) -> dict[str, Any]:
    """The scores of the chosen twin as MLflow has them, and the AUC of every recipe."""
    chosen = candidate.chosen
    return {
        "recipe": chosen.recipe,
        # As the run in MLflow has it, when the same windows are deployed.
        "data": hash_data({window.name: window.digest for window in candidate.refitted})[:12],
        "rows": chosen.candidate.rows,
        **_rounded(describe_comparison(chosen, None)),
        "val_auc_of": _rounded(
            {each.recipe: each.candidate.val_auc for each in candidate.twins.comparisons}
        ),
    }


def _rounded(numbers: Mapping[str, float | None]) -> dict[str, float]:
    """Without what could not be measured."""
    return {name: round(value, DECIMALS) for name, value in numbers.items() if value is not None}


def _write_table(table: pd.DataFrame, path: Path) -> None:
    table.round(DECIMALS).to_csv(path, index=False, lineterminator="\n")
