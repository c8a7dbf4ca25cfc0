"""Small models of a shop, tables to score, and what the API says of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io

from api.model.answer import LoadedModel
from closedloop.bundle.files import MODEL_FILE, Facts
from closedloop.bundle.loaded import load_version, load_with_pipeline
from closedloop.bundle.onnx_proof import prove
from closedloop.bundle.skops_model import write_facts
from closedloop.training.recipes import fit
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.windows.prepare import prepare

CONTENT: dict[str, Any] = {
    "name": "shop",
    "key": "customer",
    "target": {"column": "left", "classes": ["no", "yes"]},
    "source": {"query": "select 1", "windows": "*.csv"},
    "columns": {
        "spend": {"type": "numeric", "maximum": 1000},
        "visits": {"type": "numeric"},
        "code": {"type": "categorical"},
        "plan": {"type": "categorical", "allowed": ["basic", "gold"]},
    },
}


USE_CASE = parse_use_case(CONTENT, Path("loop.toml"))


def make_rows(number: int, seed: int = 1) -> pd.DataFrame:
    """Keys like 007, numbers with gaps, whole numbers as categories, plans in several spellings."""
    draw = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "customer": [f"{place:07d}" for place in range(number)],
            "spend": draw.normal(50, 20, number).round(2),
        }
    )
    table["visits"] = pd.Series(draw.poisson(3, number), dtype="Int64").mask(
        draw.random(number) < 0.01
    )
    table["code"] = pd.Series(draw.integers(1, 5, number), dtype="Int64").mask(
        draw.random(number) < 0.01
    )
    table["plan"] = draw.choice(["basic", "gold", " GOLD "], number)
    table["comment"] = "a column that the model does not know"
    return table


def pack(folder: Path, recipe: Any, threshold: float | None = None) -> Path:
    """A proved bundle of a small model."""
    prepared = prepare(make_rows(500), USE_CASE)[list(USE_CASE.columns)]
    labels = ((prepared["spend"] > 50) ^ (prepared["plan"] == "gold")).to_numpy(dtype=int)
    pipeline = fit(
        recipe, prepared, labels, numeric=USE_CASE.numeric, categorical=USE_CASE.categorical, seed=7
    )
    folder.mkdir()
    skops.io.dump(pipeline, folder / MODEL_FILE)
    facts = Facts(
        "shop", "key", f"{recipe}/all", ("no", "yes"), ("w0",), "w1", 0.7, {}, CONTENT, 500, "ab"
    )
    facts = replace(facts, threshold=threshold)
    write_facts(
        folder, facts, prepared.head(20), pipeline.predict_proba(prepared.head(20)), prepared
    )
    assert prove(folder, pipeline, prepared, USE_CASE, 1e-5).served_by == "onnx"
    return folder


def ask_api(
    bundle: Path, rows: pd.DataFrame, pipeline: bool = False
) -> list[tuple[str, list[float]]]:
    """What the service says of rows that reach it as JSON, 1,000 at a time."""
    model = LoadedModel(
        3, load_with_pipeline(bundle) if pipeline else load_version(bundle), datetime.now(UTC)
    )
    asked = json.loads(rows.drop(columns="comment").to_json(orient="records"))
    found = []
    for first in range(0, len(asked), 1000):
        read = model.reader.read(json.dumps({"rows": asked[first : first + 1000]}).encode(), 1000)
        answered = model.answer(read)
        shares = map(list, zip(*answered.shares, strict=True))
        found += list(
            zip([model.facts.classes[best] for best in answered.best], shares, strict=True)
        )
    return found


def said_of(scores: pd.DataFrame) -> list[tuple[str, list[float]]]:
    probabilities = scores[["probability_no", "probability_yes"]].to_numpy().tolist()
    return list(zip(scores["prediction"].tolist(), probabilities, strict=True))


def read_scores(path: Path) -> pd.DataFrame:
    return (
        pd.read_parquet(path)
        if path.suffix == ".parquet"
        else pd.read_csv(path, dtype={"customer": str}, float_precision="round_trip")
    )
