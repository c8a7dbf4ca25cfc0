"""A version's files, loaded: what the model is, and what scores rows with it.

Nothing heavy is imported for a version that ONNX answers: a service loads this module, and pandas,
scikit-learn and skops only when a pipeline has to answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from closedloop.bundle.files import (
    MODEL_FILE,
    ONNX_FILE,
    REFERENCE_FILE,
    SELF_TEST_FILE,
    Facts,
    Proof,
    read_facts,
    read_file,
    read_proof,
)
from closedloop.bundle.onnx_model import OnnxScorer
from closedloop.bundle.scorer import Scorer, largest_difference, pack_rows
from closedloop.errors import ModelError
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case

if TYPE_CHECKING:
    import pandas as pd

NOT_PROVED = Proof("pipeline", None, 0, "")


@dataclass(frozen=True, eq=False)
class SelfTest:
    """Prepared rows, and the fitted pipeline's probabilities for them, shape (n, k).

    `labels` are the numbers of the rows' classes, None in bundles of older versions. `background`
    are rows of the reference sample, as those of the self-test; none in bundles of older versions.
    """

    rows: tuple[Mapping[str, Any], ...] = ()
    answers: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    labels: tuple[int, ...] | None = None
    background: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, eq=False)
class LoadedVersion:
    """A model version, ready to answer.

    `use_case` is the contract that it was fitted under. `reference` reads the prepared sample of
    its training rows that drift is measured against, with `(prediction)` (NaN where no honest
    prediction exists) and the target. `proof` says what answers in service, and why.
    """

    facts: Facts
    use_case: UseCase
    scorer: Scorer
    reference: Callable[[], pd.DataFrame] = field(repr=False)
    proof: Proof = NOT_PROVED
    self_test: SelfTest = field(default_factory=SelfTest, repr=False)

    @property
    def example(self) -> dict[str, float | str | None] | None:
        """A prepared row of the self-test, in the order of the contract; None when it has none."""
        if not self.self_test.rows:
            return None
        return {name: self.self_test.rows[0].get(name) for name in self.use_case.columns}

    def tell_mismatch(self, use_case: UseCase) -> str | None:
        """Why it cannot answer rows of a use case as that is today; None if it can."""
        if missing := sorted(set(self.use_case.columns) - set(use_case.columns)):
            return f"it needs columns that loop.toml no longer has: {', '.join(missing)}"
        known, wanted = self.facts.classes, use_case.target.classes
        if known != wanted:
            return (
                f"it tells {', '.join(known)} apart, and loop.toml has the classes "
                f"{', '.join(wanted)}"
            )
        return None

    def measure_self_test(self) -> float:
        """Largest difference between the scorer's and the fitted pipeline's self-test answers."""
        if not self.self_test.rows:
            return 0.0
        packed = pack_rows(self.self_test.rows, self.scorer.numeric, self.scorer.categorical)
        return largest_difference(self.scorer.probabilities(*packed), self.self_test.answers)

    def require_self_test(self, version: int) -> None:
        """Raise ModelError when the scorer here does not repeat the fitted pipeline's answers."""
        difference, tolerance = self.measure_self_test(), self.scorer.self_test_tolerance
        if not difference <= tolerance:
            raise ModelError(
                where=f"version {version}",
                wanted=f"its self-test reproduced within {tolerance:g}",
                got=f"a difference of {difference:g}",
                then="compare the library versions here with those it was trained with",
            )


def load_version(folder: Path) -> LoadedVersion:
    """Load a bundle with the scorer that its proof names: ONNX, or else its pipeline.

    Raises ModelError when a file is missing or damaged, or when the pipeline needs a type that is
    not trusted. The digest of the files is checked by whoever downloads them.
    """
    return _load(folder, allow_onnx=True)


def load_with_pipeline(folder: Path) -> LoadedVersion:
    """Load a bundle with its pipeline, whatever its proof says; raises as `load_version`."""
    return _load(folder, allow_onnx=False)


def read_reference(folder: Path) -> pd.DataFrame:
    """The sample of training rows in a bundle."""
    from io import BytesIO

    import pandas as pd

    return pd.read_parquet(BytesIO(read_file(folder / REFERENCE_FILE)))


def _load(folder: Path, *, allow_onnx: bool) -> LoadedVersion:
    try:
        proof, facts = read_proof(folder), read_facts(folder)
        # Golden cases are no part of a bundle: their name would be that of any file here.
        content = {name: value for name, value in facts.use_case.items() if name != "golden"}
        use_case = parse_use_case(content, folder / "loop.toml")
        self_test = _read_self_test(folder, len(facts.classes))
        scorer: Scorer
        if allow_onnx and proof.served_by == "onnx":
            scorer = OnnxScorer(
                read_file(folder / ONNX_FILE),
                facts.name,
                use_case.numeric,
                use_case.categorical,
                len(facts.classes),
            )
        else:
            from closedloop.bundle.skops_model import PipelineScorer, load_pipeline

            pipeline = load_pipeline(read_file(folder / MODEL_FILE))
            scorer = PipelineScorer(pipeline, use_case.numeric, use_case.categorical)
    except ModelError:
        raise
    except Exception as error:  # whatever a damaged file does to its reader becomes one error
        raise ModelError(
            where=f"bundle {folder.name}",
            wanted="a complete bundle",
            got=f"{type(error).__name__}: {error}",
            then="register the model again with: closedloop train",
        ) from error
    return LoadedVersion(facts, use_case, scorer, partial(read_reference, folder), proof, self_test)


def _read_self_test(folder: Path, classes: int) -> SelfTest:
    content = json.loads(read_file(folder / SELF_TEST_FILE))
    rows = tuple(content["rows"])
    answers = np.asarray(content["answers"], dtype=float).reshape(len(rows), classes)
    labels = content.get("labels")
    background = tuple(content.get("background", ()))
    return SelfTest(rows, answers, None if labels is None else tuple(labels), background)
