"""A bundle on disk: file names, facts, proof and digest, without pandas or scikit-learn."""

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
    """What a model is.

    `use_case` is the content of the loop.toml it was fitted under, without the golden cases.
    `trained_windows` are in time order. `val_auc` is that of its twin, which was fitted before
    `evaluation_window` and scored on it.
    """

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
    """What answers in service, and why.

    `difference` is the largest between probabilities of the ONNX model and of the fitted pipeline
    on `rows` rows; None when there is no ONNX model. `reason` is empty when ONNX answers.
    """

    served_by: Literal["onnx", "pipeline"]
    difference: float | None
    rows: int
    reason: str


def read_facts(folder: Path) -> Facts:
    """The facts of a bundle; raises whatever a missing or damaged file makes its reader raise."""
    content = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
    tuples = {name: tuple(content[name]) for name in ("classes", "trained_windows")}
    return Facts(**{**content, **tuples})


def read_proof(folder: Path) -> Proof:
    """The proof of a bundle; without a proof its pipeline answers.

    Raises whatever a damaged file makes its reader raise.
    """
    path = folder / PROOF_FILE
    if not path.exists():
        return Proof("pipeline", None, 0, "the bundle was packed without a proof")
    proof = Proof(**json.loads(path.read_text(encoding="utf-8")))
    if proof.served_by not in ("onnx", "pipeline"):
        raise ValueError(f"served_by is {proof.served_by!r}, neither onnx nor pipeline")
    return proof


def write_json(path: Path, content: Any) -> None:
    """Write a dataclass or a dictionary as JSON; keys keep their order, as columns need."""
    path.write_text(
        json.dumps(content if isinstance(content, dict) else asdict(content), indent=1),
        encoding="utf-8",
    )


def model_digest(folder: Path) -> str:
    """sha256 over the names and contents of every file of the bundle; 64 hex digits."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(path.relative_to(folder).as_posix().encode() + b"\0")
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
