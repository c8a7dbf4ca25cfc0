"""The model that every server answers with: made rows, the project's own training and proof, an
embedded registry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from closedloop.bundle.files import Facts
from closedloop.bundle.onnx_proof import prove
from closedloop.bundle.skops_model import write_facts
from closedloop.errors import ModelError
from closedloop.registry.registry import Registry
from closedloop.training.recipes import fit
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import load_use_case
from closedloop.windows.contract_check import measure_statistics

NAME, SEED = "bench", 7
NUMERIC, CATEGORICAL, ROWS = 15, 5, 20_000
_WORDS = ("basic", "silver", "gold", "platinum", "north", "south", "east", "west")


@dataclass(frozen=True)
class Subject:
    """The registered model: its use case, its home for `closedloop serve`, its folder for MLflow,
    and rows to ask with the fitted pipeline's answers: the probability of the second class."""

    use_case: UseCase
    home: Path
    folder: Path
    rows: list[dict[str, Any]]
    answers: list[float]


def write_use_case(path: Path, key: str | None = None) -> UseCase:
    """A loop.toml with bounds on each column, as a contract usually has them."""
    lines = [
        f'name = "{NAME}"',
        *([] if key is None else [f'key = "{key}"']),
        "[source]",
        'query = "SELECT 1"',
        'windows = "*.csv"',
        "[target]",
        'column = "left"',
        'classes = ["False", "True"]',
    ]
    for place in range(NUMERIC):
        lines += [
            f"[columns.number_{place}]",
            'type = "numeric"',
            "minimum = -1000",
            "maximum = 1000",
        ]
    for place in range(CATEGORICAL):
        lines += [
            f"[columns.category_{place}]",
            'type = "categorical"',
            f"allowed = {json.dumps(_WORDS[: 4 + place])}",
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_use_case(path)


def make_rows(use_case: UseCase, count: int, seed: int) -> pd.DataFrame:
    """Rows that keep the contract; the same seed gives the same rows."""
    draw = np.random.default_rng(seed)
    table = {name: np.round(draw.normal(50, 20, count), 3) for name in use_case.numeric}
    words = {
        name: pd.Series(draw.choice(use_case.columns[name].allowed, count), dtype=object)
        for name in use_case.categorical
    }
    return pd.DataFrame({**table, **words})


def make_labels(table: pd.DataFrame, use_case: UseCase, seed: int) -> np.ndarray:
    """0 or 1 for each row, by all numbers, one category and chance."""
    draw = np.random.default_rng(seed)
    weights = draw.normal(0, 1, len(use_case.numeric))
    numbers = (table[list(use_case.numeric)].to_numpy() - 50) / 20
    score = (
        numbers @ weights
        + (table[use_case.categorical[0]] == "gold").to_numpy()
        + draw.normal(0, 1, len(table))
    )
    return np.asarray(score > 0, dtype=int)


def register_subject(home: Path, key: str | None = None, recipe: str = "logistic") -> Subject:
    """Train, prove, register and promote the model in a fresh embedded MLflow under `home`.

    Raises ModelError when it could not be proved: what is measured is the server as it serves its
    own models.
    """
    home.mkdir(parents=True)
    use_case = write_use_case(home / "loop.toml", key)
    table, judged = make_rows(use_case, ROWS, SEED), make_rows(use_case, 2_000, SEED + 1)
    pipeline = fit(
        recipe,  # type: ignore[arg-type]
        table,
        make_labels(table, use_case, SEED),
        numeric=use_case.numeric,
        categorical=use_case.categorical,
        seed=SEED,
        classes=use_case.target.classes,
    )
    registry = Registry(
        NAME,
        f"sqlite:///{home / 'mlflow.db'}",
        artifacts=home / "artifacts",
        downloads=home / "bundles",
        tried=home / "tried",
    )
    folder, columns = home / "packed", list(use_case.columns)
    tested = judged[columns].head(50)
    answers = pipeline.predict_proba(tested)
    registry.save_model(pipeline, folder, tested, answers)
    facts = Facts(
        NAME,
        "bench",
        f"{recipe}/all",
        use_case.target.classes,
        ("w0",),
        "w1",
        None,
        measure_statistics(table, use_case),
        use_case.content,
        ROWS,
        "bench",
    )
    write_facts(folder, facts, tested, answers, table.head(1_000))
    proof = prove(
        folder, pipeline, judged, use_case, use_case.policy.promotion.max_packaging_difference
    )
    if proof.served_by != "onnx":
        raise ModelError(
            where="bench-serving",
            wanted="a model that is served as ONNX",
            got=proof.reason,
            then="mend the conversion first",
        )
    run = registry.log_run(
        facts.key, "bench", metrics={}, parameters={}, tags={}, files={}, folder=folder
    )
    version = registry.register(
        facts.key, run, {"recipe": facts.recipe, "served_by": proof.served_by}
    )
    assert registry.promote(version, instead_of=None, reason="to be measured")
    asked = make_rows(use_case, 1_000, SEED + 2)[columns]
    rows: list[dict[str, Any]] = asked.to_dict(orient="records")  # type: ignore[assignment]
    return Subject(
        use_case,
        home,
        registry.download(version),
        rows,
        pipeline.predict_proba(asked)[:, 1].tolist(),
    )
