"""The folder of a bundle as it lies on disk: what is in it, what it says of itself, and its digest.
Read without pandas or scikit-learn."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

MODEL_FILE, ONNX_FILE, PROOF_FILE = "model.skops", "model.onnx", "proof.json"
FACTS_FILE, SELF_TEST_FILE, REFERENCE_FILE = "facts.json", "self_test.json", "reference.parquet"


@dataclass(frozen=True)
class Facts:
    """What a model is. `use_case` is the content of the loop.toml it was fitted under, without
    golden cases; `trained_windows` are in time order; `val_auc` was measured before the refit, by
    its twin, on `evaluation_window`."""

    name: str
    key: str
    recipe: str
    classes: tuple[str, ...]
    trained_windows: tuple[str, ...]
    evaluation_window: str
    val_auc: float | None
    statistics: dict[str, Any]
    use_case: dict[str, Any]
    rows: int
    data_digest: str


@dataclass(frozen=True)
class Proof:
    """What answers for this bundle, and why. `difference` is the largest between a probability of
    the ONNX model and of the fitted pipeline on `rows` rows; None when there was no ONNX model to
    try. `reason` is empty when ONNX serves."""

    served_by: Literal["onnx", "pipeline"]
    difference: float | None
    rows: int
    reason: str


def read_facts(folder: Path) -> Facts:
    """What the bundle says of its model; raises what a missing or damaged file raises."""
    content = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
    tuples = {name: tuple(content[name]) for name in ("classes", "trained_windows")}
    return Facts(**{**content, **tuples})


def read_proof(folder: Path) -> Proof:
    """The proof that lies in the bundle; one that was packed without is served by its pipeline.
    Raises what a damaged file raises."""
    path = folder / PROOF_FILE
    if not path.exists():
        return Proof("pipeline", None, 0, "the bundle was packed without a proof")
    proof = Proof(**json.loads(path.read_text(encoding="utf-8")))
    if proof.served_by not in ("onnx", "pipeline"):
        raise ValueError(f"served_by is {proof.served_by!r}, neither onnx nor pipeline")
    return proof


def write_json(path: Path, content: Any) -> None:
    """Write a dataclass or plain content as JSON, in the order that it has: that of the columns is
    the order of features everywhere."""
    path.write_text(
        json.dumps(content if isinstance(content, dict) else asdict(content), indent=1),
        encoding="utf-8",
    )


def model_digest(folder: Path) -> str:
    """sha256 over every file of the bundle, names included; 64 hex digits."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(path.relative_to(folder).as_posix().encode() + b"\0")
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
