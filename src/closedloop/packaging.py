"""Fitted pipeline -> the bundle that is served, with proof that both answer alike.

A bundle is a folder: the MLflow model (`model.skops` and its MLmodel file, written by the registry), `facts.json` (what the model
is and the contract it was fitted under), `self_test.json` (rows with the answers of the fitted pipeline) and `reference.parquet`
(a bounded sample of its training rows). Reading it needs neither MLflow nor a pickle.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from closedloop.errors import ModelError
from closedloop.use_case import UseCase, parse_use_case

MODEL_FILE = "model.skops"
# What skops may rebuild beyond scikit-learn's own types. A fixed list: a type that is not on it is refused, not asked about.
TRUSTED_TYPES = (
    "collections.OrderedDict",
    "collections.defaultdict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "numpy.dtype",
    "sklearn.tree._tree.Tree",
)
SELF_TEST_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Facts:
    """What a model is. `use_case` is the content of the loop.toml it was fitted under, without golden cases;
    `trained_windows` are in time order; `val_auc` was measured before the refit, by its twin, on `evaluation_window`."""

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
class Bundle:
    """A model ready to answer: `probabilities` takes prepared frames only."""

    pipeline: Any
    facts: Facts
    use_case: UseCase
    self_test: pd.DataFrame
    self_test_answers: np.ndarray
    folder: Path

    def probabilities(self, prepared: pd.DataFrame) -> np.ndarray:
        """Class probabilities, shape (n, k), in the order of `facts.classes`."""
        return np.asarray(self.pipeline.predict_proba(prepared[list(self.use_case.columns)]), dtype=float)

    def measure_self_test(self) -> float:
        """Largest difference between today's answers to the self-test rows and those of the fitted pipeline."""
        return _largest_difference(self.probabilities(self.self_test), self.self_test_answers) if len(self.self_test) else 0.0

    def reference(self) -> pd.DataFrame:
        """The sample of training rows, prepared, with `prediction` (NaN where no honest prediction exists) and the target."""
        return pd.read_parquet(self.folder / "reference.parquet")


def load_libraries() -> None:
    """Import now what the first package would import in the middle of a training."""
    import skops.io  # noqa: F401


def write_facts(folder: Path, facts: Facts, self_test: pd.DataFrame, answers: np.ndarray, reference: pd.DataFrame) -> None:
    """Add facts, self-test and reference to a folder that already holds the saved model."""
    _write_json(folder / "facts.json", asdict(facts))
    rows = self_test.astype(object).where(self_test.notna(), None)
    _write_json(folder / "self_test.json", {"rows": rows.to_dict(orient="records"), "answers": answers.tolist()})
    reference.to_parquet(folder / "reference.parquet", index=False)


def _write_json(path: Path, content: Any) -> None:
    # Unsorted: the order of the columns is the order of features everywhere.
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def pinned_requirements() -> list[str]:
    """The packages that a pipeline needs, in the versions that it was fitted with, as pip takes them."""
    from importlib.metadata import version

    # Listed rather than inferred, which takes MLflow ten seconds.
    return [f"{name}=={version(name)}" for name in ("scikit-learn", "lightgbm", "pandas", "numpy", "skops")]


def model_digest(folder: Path) -> str:
    """sha256 over every file of the bundle, names included; 64 hex digits."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(path.relative_to(folder).as_posix().encode() + b"\0")
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def read_bundle(folder: Path) -> Bundle:
    """Load a bundle.

    Raises ModelError when a file is missing or damaged, or when the model asks for a type that is not trusted.
    """
    try:
        facts = _read_facts(folder)
        use_case = parse_use_case(facts.use_case, folder / "loop.toml")
        tested = json.loads((folder / "self_test.json").read_text(encoding="utf-8"))
        self_test = pd.DataFrame(tested["rows"], columns=list(use_case.columns))
        for name in use_case.numeric:
            self_test[name] = self_test[name].astype(float)
        for name in use_case.categorical:
            self_test[name] = self_test[name].astype(object)
        answers = np.asarray(tested["answers"], dtype=float).reshape(len(self_test), len(facts.classes))
        pipeline = _load_pipeline(folder / MODEL_FILE)
    except ModelError:
        raise
    except Exception as error:  # whatever a damaged file does to a reader becomes one sentence
        raise ModelError(where=f"bundle {folder.name}", wanted="a whole bundle", got=f"{type(error).__name__}: {error}",
                         then="register the model again with: closedloop train") from error  # fmt: skip
    return Bundle(pipeline, facts, use_case, self_test, answers, folder)


def _read_facts(folder: Path) -> Facts:
    content = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    tuples = {name: tuple(content[name]) for name in ("classes", "trained_windows")}
    return Facts(**{**content, **tuples})


def _load_pipeline(path: Path) -> Any:
    from skops.io import get_untrusted_types, load

    foreign = sorted(set(get_untrusted_types(file=path)) - set(TRUSTED_TYPES))
    if foreign:
        raise ModelError(where=path.name, wanted="scikit-learn and LightGBM types only", got=", ".join(foreign),
                         then="do not serve this file: it was not made by closedloop, or by another version of it")  # fmt: skip
    return load(path, trusted=list(TRUSTED_TYPES))


def measure_difference(bundle: Bundle, fitted: Any, prepared: pd.DataFrame) -> float:
    """Largest difference between a probability of the packaged model and one of the fitted pipeline, on the rows given."""
    if prepared.empty:
        return 0.0
    return _largest_difference(bundle.probabilities(prepared), fitted.predict_proba(prepared[list(bundle.use_case.columns)]))


def _largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Infinite when an answer is not a number, or when there are more classes on one side: neither is below any limit."""
    if ours.shape != theirs.shape:
        return float("inf")
    difference = float(np.abs(ours - np.asarray(theirs, dtype=float)).max())
    return difference if np.isfinite(difference) else float("inf")
