"""The proof that an ONNX model answers like its pipeline, with the files that will answer."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.bundle.files import ONNX_FILE, PROOF_FILE, Proof, write_json
from closedloop.bundle.frames import in_batches, pack_frame, score_frame
from closedloop.bundle.loaded import load_version
from closedloop.bundle.onnx_graph import convert, find_split_points
from closedloop.bundle.scorer import Scorer, largest_difference
from closedloop.errors import ModelError
from closedloop.use_case.contract import MISSING, UseCase

# Enough for every threshold of a usual ensemble; a larger ensemble is tried at a spread of its
# thresholds.
MAX_SPLIT_ROWS = 10_000
_EXTREMES = (0.0, -1.0, 1e6, -1e6, 2.0**24 + 1, -(2.0**24) - 1, 2.0**53, 1e-30, 1e30, -1e30)
_STRANGE_TEXTS = ("(never seen)", "", " ", MISSING, "a\0b", "\N{GRINNING FACE}", "x" * 1000)


def prove(
    folder: Path, pipeline: Any, prepared: pd.DataFrame, use_case: UseCase, limit: float
) -> Proof:
    """Add `model.onnx` and `proof.json` to a bundle that has its facts and self-test.

    The ONNX model is tried on the rows of `prepared`, on awkward rows made of them, and at the
    thresholds of its trees. It stays only when every probability is within `limit` of the fitted
    pipeline's; otherwise the pipeline answers in service.
    """
    proof = _try(
        folder, pipeline, prepared[[*use_case.numeric, *use_case.categorical]], use_case, limit
    )
    if proof.served_by == "pipeline":
        (folder / ONNX_FILE).unlink(missing_ok=True)
    write_json(folder / PROOF_FILE, proof)
    with suppress(ModelError):  # whoever loads it next says why it cannot be loaded
        first = pack_frame(prepared.head(1), use_case.numeric, use_case.categorical)
        proof = replace(
            proof, milliseconds=_measure_milliseconds(load_version(folder).scorer, first)
        )
        write_json(folder / PROOF_FILE, proof)
    return proof


def _measure_milliseconds(scorer: Scorer, row: tuple[NDArray[Any], NDArray[Any]]) -> float | None:
    """The median of some answers to one row."""
    if not len(row[0]):
        return None
    taken = []
    for _ in range(9):
        begun = time.perf_counter()
        scorer.probabilities(*row)
        taken.append(time.perf_counter() - begun)
    return round(1000 * statistics.median(taken), 3)


def _try(
    folder: Path, pipeline: Any, prepared: pd.DataFrame, use_case: UseCase, limit: float
) -> Proof:
    numeric, categorical = use_case.numeric, use_case.categorical
    if prepared.empty:
        return Proof("pipeline", None, 0, "there were no rows to try it on")
    try:
        (folder / ONNX_FILE).write_bytes(convert(pipeline, numeric, categorical))
        # The model is loaded as it will be in service.
        write_json(folder / PROOF_FILE, Proof("onnx", None, 0, ""))
        rows = pd.concat(
            [
                prepared,
                make_awkward_rows(prepared, numeric, categorical),
                make_split_rows(prepared, numeric, find_split_points(pipeline, numeric)),
            ],
            ignore_index=True,
        )
        scorer = load_version(folder).scorer
        difference = largest_difference(score_frame(scorer, rows), _ask(pipeline, rows))
    except ModelError as error:
        return Proof("pipeline", None, 0, str(error))
    if not difference <= limit:
        measured = f"a probability differs by {difference:.3g} where {limit:g} is allowed"
        return Proof(
            "pipeline", difference if np.isfinite(difference) else None, len(rows), measured
        )
    return Proof("onnx", difference, len(rows), "")


def _ask(pipeline: Any, rows: pd.DataFrame) -> NDArray[Any]:
    try:
        answers = [pipeline.predict_proba(batch) for batch in in_batches(rows)]
        return np.concatenate(answers).astype(float, copy=False)
    except Exception as error:  # a foreign learner may raise anything
        raise ModelError(
            where="proof",
            wanted="the pipeline's answers to awkward rows",
            got=f"{type(error).__name__}: {error}",
            then="the pipeline answers instead",
        ) from error


def make_awkward_rows(
    rows: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str]
) -> pd.DataFrame:
    """Rows that training may not have: each column, and all at once, null, extreme or unseen."""
    if rows.empty:
        return rows.head(0)
    numbers: list[float] = [np.nan, *_EXTREMES]
    changes: list[dict[str, Any]] = [dict.fromkeys(numeric, value) for value in numbers]
    changes += [dict.fromkeys(categorical, text) for text in _STRANGE_TEXTS]
    changes += [{**dict.fromkeys(numeric, np.nan), **dict.fromkeys(categorical, MISSING)}]
    changes += [{name: value} for name in numeric for value in (np.nan, 0.0, 1e6, -1e6)]
    changes += [{name: text} for name in categorical for text in ("(never seen)", MISSING)]
    return _changed(rows, changes)


def make_split_rows(
    rows: pd.DataFrame, numeric: Sequence[str], points: dict[int, tuple[float, ...]]
) -> pd.DataFrame:
    """Real rows with a number replaced by a threshold or by its float64 and float32 neighbours."""
    if rows.empty or not points:
        return rows.head(0)
    changes = []
    thresholds = [(numeric[place], point) for place, found in points.items() for point in found]
    kept = np.unique(
        np.linspace(0, len(thresholds) - 1, min(len(thresholds), MAX_SPLIT_ROWS // 5)).astype(int)
    )
    for name, point in (thresholds[place] for place in kept):
        changes += [{name: value} for value in _around(point)]
    return _changed(rows, changes)


def _around(point: float) -> list[float]:
    with np.errstate(over="ignore"):
        near = np.float32(point)
        singles = [
            float(near),
            float(
                np.nextafter(
                    near, np.float32(np.inf) if float(near) <= point else np.float32(-np.inf)
                )
            ),
        ]
    found = [
        point,
        float(np.nextafter(point, np.inf)),
        float(np.nextafter(point, -np.inf)),
        *singles,
    ]
    return [value for value in found if np.isfinite(value)]


def _changed(rows: pd.DataFrame, changes: list[dict[str, Any]]) -> pd.DataFrame:
    """A row for each change; the rows are used in turn."""
    places = np.arange(len(changes)) % len(rows)
    found = {name: rows[name].to_numpy()[places].copy() for name in rows.columns}
    for place, change in enumerate(changes):
        for name, value in change.items():
            found[name][place] = value
    return pd.DataFrame(
        {name: pd.Series(values, dtype=rows[name].dtype) for name, values in found.items()}
    )
