"""A small shop: its rows, a pipeline that is fitted on them, and its bundle on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io

from closedloop.bundle.files import MODEL_FILE, Facts, Proof
from closedloop.bundle.onnx_proof import prove
from closedloop.bundle.skops_model import write_facts
from closedloop.training.recipes import fit
from closedloop.use_case.contract import MISSING
from closedloop.use_case.loop_toml import parse_use_case

CONTENT: dict[str, Any] = {
    "name": "shop",
    "target": {"column": "left", "classes": ["False", "True"]},
    "source": {"query": "select 1", "windows": "*.csv"},
    "columns": {
        "plan": {"type": "categorical"},
        "spend": {"type": "numeric"},
        "visits": {"type": "numeric"},
    },
}
USE_CASE = parse_use_case(CONTENT, Path("loop.toml"))
NUMERIC, CATEGORICAL = USE_CASE.numeric, USE_CASE.categorical
FACTS = Facts(
    name="shop",
    key="a key",
    recipe="lightgbm/all",
    classes=("False", "True"),
    trained_windows=("w0", "w1"),
    evaluation_window="w2",
    val_auc=0.7,
    statistics={"spend": {"median": 3.0}},
    use_case=CONTENT,
    rows=300,
    data_digest="ab-cd",
)


def rows(seed: int, count: int = 300) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    table = pd.DataFrame(
        {"plan": pd.Series(draw.choice(["basic", "gold", MISSING], count), dtype=object)}
    )
    table["spend"] = draw.normal(50, 20, count)
    table["visits"] = draw.poisson(3, count).astype(float)
    table.loc[::17, "spend"] = np.nan
    return table


def labels_of(table: pd.DataFrame) -> np.ndarray:
    score = table["spend"].fillna(0) + 5 * table["visits"]
    return ((score > 60) ^ (table["plan"] == "gold")).to_numpy(dtype=int)


def fit_pipeline(recipe: Any = "lightgbm", seed: int = 1) -> Any:
    table = rows(seed)
    return fit(recipe, table, labels_of(table), numeric=NUMERIC, categorical=CATEGORICAL, seed=7)


def write_bundle(folder: Path, pipeline: Any, tested: pd.DataFrame | None = None) -> Path:
    """A bundle without a proof."""
    folder.mkdir()
    skops.io.dump(pipeline, folder / MODEL_FILE)
    tested = rows(2, 40) if tested is None else tested
    answers = pipeline.predict_proba(tested) if len(tested) else np.zeros((0, 2))
    write_facts(folder, FACTS, tested, answers, rows(3, 50).assign(**{"(prediction)": np.nan}))
    return folder


def write_proved(
    folder: Path, pipeline: Any, judged: pd.DataFrame | None = None, limit: float = 1e-5
) -> Proof:
    """Write a bundle and prove it on `judged`."""
    write_bundle(folder, pipeline)
    return prove(folder, pipeline, rows(4) if judged is None else judged, USE_CASE, limit)
