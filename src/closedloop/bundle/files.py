"""A bundle on disk: facts, proof, manifest and digest, without pandas or scikit-learn.

Only what was registered counts. `manifest.json` names the files of a bundle; whatever MLflow, a
file browser or an editor writes beside them later is none of its files.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from closedloop.decisions.deciding_measure import Measured
from closedloop.errors import ModelError

MODEL_FILE, ONNX_FILE, PROOF_FILE = "model.skops", "model.onnx", "proof.json"
FACTS_FILE, SELF_TEST_FILE, REFERENCE_FILE = "facts.json", "self_test.json", "reference.parquet"
MANIFEST_FILE = "manifest.json"
# The files of a version that was registered before there were manifests.
_WITHOUT_MANIFEST = (
    *(MODEL_FILE, ONNX_FILE, PROOF_FILE, FACTS_FILE, SELF_TEST_FILE, REFERENCE_FILE),
    *("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt"),
)
# The only names that a bundle may have: nothing else is downloaded, listed or read.
BUNDLE_FILES = (*_WITHOUT_MANIFEST, MANIFEST_FILE)
MAX_BUNDLE_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Facts:
    """What a model is.

    `use_case` is the content of the loop.toml it was fitted under, without the golden cases.
    `trained_windows` are in time order. `val_auc` is that of its twin, which was fitted before
    `evaluation_window` and scored on it, and `val_auc_error` its standard error, None in bundles
    of older versions; `measured` is the same in another measure, if that decided.
    The second of two classes is the answer from the `threshold` on; without one, the likeliest is.
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
    measured: Measured | None = None
    threshold: float | None = None

    @property
    def digests(self) -> dict[str, str]:
        """Training window -> the first 12 digits of the sha256 of its rows; empty if unknown."""
        digests = self.data_digest.split("-")
        whole = len(digests) == len(self.trained_windows)  # a replay's first version has none
        return dict(zip(self.trained_windows, digests, strict=True)) if whole else {}


@dataclass(frozen=True)
class Proof:
    """What answers in service, and why.

    `difference` is the largest between probabilities of the ONNX model and of the fitted pipeline
    on `rows` rows; None when there is no ONNX model. `reason` is empty when ONNX answers.
    `milliseconds` is what a row alone took whatever answers, when it was registered.
    """

    served_by: Literal["onnx", "pipeline"]
    difference: float | None
    rows: int
    reason: str
    milliseconds: float | None = None


def read_facts(folder: Path) -> Facts:
    """The facts of a bundle; raises whatever a missing or damaged file makes its reader raise."""
    content = json.loads(read_file(folder / FACTS_FILE))
    tuples = {name: tuple(content[name]) for name in ("classes", "trained_windows")}
    measured = content.get("measured")
    return Facts(**{**content, **tuples, "measured": measured and Measured(**measured)})


def read_proof(folder: Path) -> Proof:
    """The proof of a bundle; without a proof its pipeline answers.

    Raises whatever a damaged file makes its reader raise.
    """
    try:
        proof = Proof(**json.loads(read_file(folder / PROOF_FILE)))
    except FileNotFoundError:
        return Proof("pipeline", None, 0, "the bundle was packed without a proof")
    if proof.served_by not in ("onnx", "pipeline"):
        raise ValueError(f"served_by is {proof.served_by!r}, neither onnx nor pipeline")
    if not isinstance(proof.milliseconds, (int, float, type(None))):
        raise ValueError(f"milliseconds is {proof.milliseconds!r}, no number")
    return proof


def read_file(path: Path) -> bytes:
    """The content of a bundle's file.

    Raises OSError for what is no file of its own, such as a link, a device or a pipe, and for one
    that is larger than a bundle may be.
    """
    with _open(path) as file:
        return file.read()


def write_json(path: Path, content: Any) -> None:
    """Write a dataclass or a dictionary as JSON; keys keep their order, as columns need."""
    path.write_text(
        json.dumps(content if isinstance(content, dict) else asdict(content), indent=1),
        encoding="utf-8",
    )


def write_manifest(folder: Path) -> str:
    """Name every file of the folder, with its sha256, as registered; returns the digest.

    Raises ModelError for a bundle that no reader would take: too large, or with other files.
    """
    names = [name for name in _files_in(folder) if name != MANIFEST_FILE]
    size = sum((folder / name).stat().st_size for name in names)
    if size > MAX_BUNDLE_BYTES or not {*names} <= {*BUNDLE_FILES}:
        raise ModelError(
            where=f"bundle {folder.name}",
            wanted=f"at most {MAX_BUNDLE_BYTES:,} bytes in files of a bundle",
            got=f"{size:,} bytes in {', '.join(names)}",
            then="fit a smaller model",
        )
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
        if _is_file(folder / name):
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
    if not any(_is_file(folder / name) for name in BUNDLE_FILES):
        return f"no model in {folder}"
    damaged = [
        f"{name} {'changed' if _is_file(folder / name) else 'missing'}"
        for name, wanted in _registered(folder).items()
        if wanted and not (_is_file(folder / name) and _sha256(folder / name).hex() == wanted)
    ]
    return ", ".join(damaged) or f"sha256 {model_digest(folder)[:12]}"


def _registered(folder: Path) -> dict[str, str]:
    """Name -> sha256; without a manifest the hashes are empty, and the names those of that time."""
    try:
        listed = json.loads(read_file(folder / MANIFEST_FILE))["sha256"]
        named = {str(name): str(wanted) for name, wanted in listed.items()}
    except FileNotFoundError:
        return dict.fromkeys(_WITHOUT_MANIFEST, "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}  # the digest of a damaged manifest is refused
    return named if {*named} <= {*_WITHOUT_MANIFEST} else {}


def _files_in(folder: Path) -> list[str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path.relative_to(folder).as_posix() for path in paths]


def _is_file(path: Path) -> bool:
    try:
        with _open(path):
            return True
    except OSError:
        return False


def _sha256(path: Path) -> bytes:
    with _open(path) as file:
        return hashlib.file_digest(file, "sha256").digest()


@contextmanager
def _open(path: Path) -> Iterator[io.BufferedReader]:
    # A link may lead anywhere, a device never ends, and opening a pipe waits for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BUNDLE_BYTES:
            raise OSError(f"{path.name} is no file of at most {MAX_BUNDLE_BYTES:,} bytes")
        yield file
