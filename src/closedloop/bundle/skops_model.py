"""Fitted pipeline -> the bundle that is served, with proof that both answer alike.

A bundle is a folder: the MLflow model (`model.skops` and its MLmodel file, written by the
registry), `facts.json` (what the model is and the contract it was fitted under), `self_test.json`
(rows with the answers of the fitted pipeline), `reference.parquet` (a bounded sample of its
training rows), `proof.json` (what answers: the ONNX model or the pipeline, and why) and, where it
was proved, `model.onnx`. Reading it needs neither MLflow nor a pickle; answering with `model.onnx`
(`served.py`) needs no scikit-learn either.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from closedloop.bundle.files import (
    FACTS_FILE,
    MODEL_FILE,
    REFERENCE_FILE,
    SELF_TEST_FILE,
    Facts,
    Proof,
    read_facts,
    read_proof,
    write_json,
)
from closedloop.bundle.onnx_proof import largest_difference
from closedloop.errors import ModelError
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case

# What skops may rebuild beyond scikit-learn's own types. A fixed list: a type that is not on it is
# refused, not asked about.
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
class Bundle:
    """A model ready to answer: `probabilities` takes prepared frames only."""

    pipeline: Any
    facts: Facts
    use_case: UseCase
    self_test: pd.DataFrame
    self_test_answers: np.ndarray
    folder: Path
    proof: Proof

    @property
    def served_by(self) -> str:
        """`onnx` when the bundle holds a proved ONNX model, else `pipeline`; `proof` says why."""
        return self.proof.served_by

    def probabilities(self, prepared: pd.DataFrame) -> np.ndarray:
        """Class probabilities, shape (n, k), in the order of `facts.classes`."""
        return np.asarray(
            self.pipeline.predict_proba(prepared[list(self.use_case.columns)]), dtype=float
        )

    def measure_self_test(self) -> float:
        """Largest difference between today's answers to the self-test rows and those of the fitted
        pipeline."""
        return (
            largest_difference(self.probabilities(self.self_test), self.self_test_answers)
            if len(self.self_test)
            else 0.0
        )

    def reference(self) -> pd.DataFrame:
        """The sample of training rows, prepared, with `prediction` (NaN where no honest prediction
        exists) and the target."""
        return pd.read_parquet(self.folder / REFERENCE_FILE)


@dataclass(frozen=True)
class PackedPipeline:
    """The pipeline of a bundle without proof, in the place of a `served.ServedModel`: the same
    arrays in, the same shape out."""

    bundle: Bundle
    served_by: ClassVar[Literal["pipeline"]] = "pipeline"
    quick: ClassVar[bool] = False
    self_test_tolerance: ClassVar[float] = SELF_TEST_TOLERANCE

    @property
    def served_reason(self) -> str:
        """Why the pipeline answers itself."""
        return self.bundle.proof.reason

    @property
    def use_case(self) -> UseCase:
        """The contract that it was fitted under."""
        return self.bundle.use_case

    @property
    def example(self) -> dict[str, Any] | None:
        """A prepared row that the model was tried on, None for null."""
        tested = self.bundle.self_test.head(1).astype(object)
        found: list[dict[str, Any]] = tested.where(tested.notna(), None).to_dict(orient="records")  # type: ignore[assignment]
        return found[0] if found else None

    @property
    def facts(self) -> Facts:
        """What the model is."""
        return self.bundle.facts

    @property
    def numeric(self) -> tuple[str, ...]:
        """The order of the columns of `numbers`."""
        return self.bundle.use_case.numeric

    @property
    def categorical(self) -> tuple[str, ...]:
        """The order of the columns of `texts`."""
        return self.bundle.use_case.categorical

    @property
    def classes(self) -> tuple[str, ...]:
        """The order of the probabilities."""
        return self.bundle.facts.classes

    def probabilities(self, numbers: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """Class probabilities, (n, k), of numbers (n, f), NaN for null, and texts (n, c) of str
        objects."""
        columns: dict[str, Any] = {
            name: np.asarray(numbers[:, place], dtype=float)
            for place, name in enumerate(self.numeric)
        }
        columns |= {
            name: pd.Series(texts[:, place], dtype=object)
            for place, name in enumerate(self.categorical)
        }
        return self.bundle.probabilities(pd.DataFrame(columns, index=range(len(numbers))))

    def measure_self_test(self) -> float:
        """As of the bundle."""
        return self.bundle.measure_self_test()


def load_libraries() -> None:
    """Import now what the first package would import in the middle of a training."""
    import skops.io  # noqa: F401


def write_facts(
    folder: Path,
    facts: Facts,
    self_test: pd.DataFrame,
    answers: np.ndarray,
    reference: pd.DataFrame,
) -> None:
    """Add facts, self-test and reference to a folder that already holds the saved model."""
    write_json(folder / FACTS_FILE, facts)
    rows = self_test.astype(object).where(self_test.notna(), None)
    write_json(
        folder / SELF_TEST_FILE,
        {"rows": rows.to_dict(orient="records"), "answers": answers.tolist()},
    )
    reference.to_parquet(folder / REFERENCE_FILE, index=False)


def pinned_requirements() -> list[str]:
    """The packages that a pipeline needs, in the versions that it was fitted with, as pip takes
    them."""
    from importlib.metadata import version

    # Listed rather than inferred, which takes MLflow ten seconds.
    return [
        f"{name}=={version(name)}"
        for name in ("scikit-learn", "lightgbm", "pandas", "numpy", "skops")
    ]


def read_bundle(folder: Path) -> Bundle:
    """Load a bundle.

    Raises ModelError when a file is missing or damaged, or when the model asks for a type that is
    not trusted.
    """
    try:
        facts = read_facts(folder)
        use_case = parse_use_case(facts.use_case, folder / "loop.toml")
        tested = json.loads((folder / SELF_TEST_FILE).read_text(encoding="utf-8"))
        self_test = pd.DataFrame(tested["rows"], columns=list(use_case.columns))
        for name in use_case.numeric:
            self_test[name] = self_test[name].astype(float)
        for name in use_case.categorical:
            self_test[name] = self_test[name].astype(object)
        answers = np.asarray(tested["answers"], dtype=float).reshape(
            len(self_test), len(facts.classes)
        )
        pipeline = _load_pipeline(folder / MODEL_FILE)
        proof = read_proof(folder)
    except ModelError:
        raise
    except Exception as error:  # whatever a damaged file does to a reader becomes one sentence
        raise ModelError(
            where=f"bundle {folder.name}",
            wanted="a whole bundle",
            got=f"{type(error).__name__}: {error}",
            then="register the model again with: closedloop train",
        ) from error
    return Bundle(pipeline, facts, use_case, self_test, answers, folder, proof)


def read_packed(folder: Path) -> PackedPipeline:
    """The bundle's pipeline in the place of its ONNX model; raises as `read_bundle`."""
    return PackedPipeline(read_bundle(folder))


def _load_pipeline(path: Path) -> Any:
    from skops.io import get_untrusted_types, load

    foreign = sorted(set(get_untrusted_types(file=path)) - set(TRUSTED_TYPES))
    if foreign:
        raise ModelError(
            where=path.name,
            wanted="scikit-learn and LightGBM types only",
            got=", ".join(foreign),
            then="do not serve this file: it was not made by closedloop, or by another version of it",
        )
    return load(path, trusted=list(TRUSTED_TYPES))


def measure_difference(bundle: Bundle, fitted: Any, prepared: pd.DataFrame) -> float:
    """Largest difference between a probability of the packaged model and one of the fitted
    pipeline, on the rows given."""
    if prepared.empty:
        return 0.0
    return largest_difference(
        bundle.probabilities(prepared),
        fitted.predict_proba(prepared[list(bundle.use_case.columns)]),
    )
