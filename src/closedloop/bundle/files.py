"""A bundle on disk: facts, proof, manifest and digest, without pandas or scikit-learn.

Only what was registered counts. `manifest.json` names the files of a bundle; whatever MLflow, a
file browser or an editor writes beside them later is none of its files.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

MODEL_FILE, ONNX_FILE, PROOF_FILE = "model.skops", "model.onnx", "proof.json"
FACTS_FILE, SELF_TEST_FILE, REFERENCE_FILE = "facts.json", "self_test.json", "reference.parquet"
MANIFEST_FILE = "manifest.json"
# The files of a version that was registered before there were manifests.
_WITHOUT_MANIFEST = (
    *(MODEL_FILE, ONNX_FILE, PROOF_FILE, FACTS_FILE, SELF_TEST_FILE, REFERENCE_FILE),
    *("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt"),
)


@dataclass(frozen=True)
class Facts:
    """What a model is.

    `use_case` is the content of the loop.toml it was fitted under, without the golden cases.
    `trained_windows` are in time order. `val_auc` is that of its twin, which was fitted before
    `evaluation_window` and scored on it, and `val_auc_error` its standard error, None in bundles
    of older versions.
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
    val_auc_error: float | None = None


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


def write_manifest(folder: Path) -> str:
    """Name every file of the folder, with its sha256, as registered; returns the digest."""
    names = [name for name in _files_in(folder) if name != MANIFEST_FILE]
    write_json(
        folder / MANIFEST_FILE,
        {"sha256": {name: _sha256(folder / name).hex() for name in names}},
    )
    return model_digest(folder)


def model_digest(folder: Path) -> str:
    """sha256 over the names and contents of the registered files; 64 hex digits.

    These are the manifest and the files it names. A missing one is left out, so that the digest is
    another; `describe_damage` says which.
    """
    total = hashlib.sha256()
    for name in sorted((*_registered(folder), MANIFEST_FILE), key=Path):
        if (folder / name).is_file():
            total.update(name.encode() + b"\0")
            total.update(_sha256(folder / name))
    return total.hexdigest()


def extra_files(folder: Path) -> tuple[str, ...]:
    """Files that lie beside the registered ones, as paths in the folder; nothing reads them."""
    known = {*_registered(folder), MANIFEST_FILE}
    return tuple(name for name in _files_in(folder) if name not in known)


def describe_damage(folder: Path) -> str:
    """What differs from the manifest: `model.skops changed, proof.json missing`.

    Without a manifest, or when nothing differs from it, that is the digest.
    """
    if not any((folder / name).is_file() for name in (*_WITHOUT_MANIFEST, MANIFEST_FILE)):
        return f"no model in {folder}"
    damaged = [
        f"{name} {'changed' if (folder / name).is_file() else 'missing'}"
        for name, wanted in _registered(folder).items()
        if wanted and not ((folder / name).is_file() and _sha256(folder / name).hex() == wanted)
    ]
    return ", ".join(damaged) or f"sha256 {model_digest(folder)[:12]}"


def _registered(folder: Path) -> dict[str, str]:
    """Name -> sha256; without a manifest the hashes are empty, and the names those of that time."""
    try:
        listed = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))["sha256"]
        return {str(name): str(wanted) for name, wanted in listed.items()}
    except FileNotFoundError:
        return dict.fromkeys(_WITHOUT_MANIFEST, "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}  # the digest of a damaged manifest is refused


def _files_in(folder: Path) -> list[str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path.relative_to(folder).as_posix() for path in paths]


def _sha256(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
