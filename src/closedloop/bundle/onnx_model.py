"""A proved bundle, ready to answer: arrays in, probabilities out. onnxruntime's only door; needs no
pandas, scikit-learn or MLflow."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from closedloop.bundle.files import ONNX_FILE, SELF_TEST_FILE, Facts, read_facts, read_proof
from closedloop.errors import ModelError
from closedloop.use_case.contract import MISSING, UseCase
from closedloop.use_case.loop_toml import parse_use_case

# What a proof promises; the answers are float32, and another processor may round the last digit in
# another way.
SERVED_TOLERANCE = 1e-5


class ServedModel:
    """The ONNX model of a bundle. Never changed after it was loaded; any number of threads may ask
    it at once."""

    served_by: Literal["onnx"] = "onnx"
    served_reason = ""
    quick = True
    self_test_tolerance = SERVED_TOLERANCE

    def __init__(
        self,
        session: Any,
        facts: Facts,
        use_case: UseCase,
        tested: Sequence[Mapping[str, Any]],
        answers: NDArray[Any],
    ) -> None:
        self._session = session
        self.facts, self.use_case = facts, use_case
        self.numeric, self.categorical, self.classes = (
            use_case.numeric,
            use_case.categorical,
            facts.classes,
        )
        self._tested, self._answers = tested, answers

    def probabilities(self, numbers: NDArray[Any], texts: NDArray[Any]) -> NDArray[np.float32]:
        """Class probabilities, float32 (n, k), in the order of `classes`.

        `numbers` is (n, f), float64 (float32 is taken too), NaN for null, in the order of
        `numeric`; `texts` is (n, c) of str objects, MISSING for null, in the order of
        `categorical`. Raises ModelError when the arrays are of another shape or hold something
        else.
        """
        if numbers.shape != (len(numbers), len(self.numeric)) or texts.shape != (
            len(numbers),
            len(self.categorical),
        ):
            raise self._refusal(f"numbers {numbers.shape} and texts {texts.shape}")
        given: dict[str, NDArray[Any]] = {}
        if self.numeric:
            given["numbers"] = np.ascontiguousarray(numbers, dtype=np.float64)
        if self.categorical:
            given["texts"] = texts
        try:
            answers: NDArray[np.float32] = self._session.run(["probabilities"], given)[0]
        except UnicodeEncodeError:
            # Half of a surrogate pair, which JSON can spell: such a text is in no training data, so
            # any unseen text answers alike.
            return self.probabilities(numbers, _encodable(texts))
        except Exception as error:
            raise self._refusal(f"{type(error).__name__}: {error}") from error
        return answers

    @property
    def example(self) -> dict[str, Any] | None:
        """A prepared row that the model was tried on, in the order of the use case's columns, None
        for null."""
        return (
            {name: self._tested[0].get(name) for name in self.use_case.columns}
            if self._tested
            else None
        )

    def pack(self, rows: Sequence[Mapping[str, Any]]) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Prepared rows (numbers or None, texts or None by column name) as the arrays that
        `probabilities` takes; null where a row lacks a column, and where a number is not finite, as
        in `schema.prepare`."""
        numbers = np.array(
            [[_number(row.get(name)) for name in self.numeric] for row in rows], dtype=np.float64
        )
        texts = np.empty((len(rows), len(self.categorical)), dtype=object)
        for place, row in enumerate(rows):
            texts[place] = [
                MISSING if (text := row.get(name)) is None else text for name in self.categorical
            ]
        return numbers.reshape(len(rows), len(self.numeric)), texts

    def measure_self_test(self) -> float:
        """Largest difference between today's answers to the self-test rows and those of the fitted
        pipeline; infinite for NaN."""
        if not self._tested:
            return 0.0
        difference = float(
            np.abs(self.probabilities(*self.pack(self._tested)) - self._answers).max()
        )
        return difference if math.isfinite(difference) else math.inf

    def _refusal(self, got: str) -> ModelError:
        wanted = f"numbers (n, {len(self.numeric)}) and texts (n, {len(self.categorical)})"
        return ModelError(
            where=f"model {self.facts.name}",
            wanted=wanted,
            got=got,
            then="pack the rows with pack()",
        )


def _number(value: Any) -> float:
    return value if value is not None and math.isfinite(value) else math.nan


def _encodable(texts: NDArray[Any]) -> NDArray[Any]:
    out = np.empty(texts.shape, dtype=object)
    out.flat[:] = [
        str(text).encode("utf-8", "backslashreplace").decode("utf-8") for text in texts.flat
    ]
    return out


def load_served(folder: Path) -> ServedModel:
    """Load a bundle whose proof says that ONNX serves it. What lies in the folder was checked
    against its digest by whoever fetched it.

    Raises ModelError when the bundle is served by its pipeline, with the reason of the proof, or
    when a file is missing or damaged.
    """
    try:
        proof = read_proof(folder)
        if proof.served_by != "onnx":
            raise ModelError(
                where=f"bundle {folder.name}",
                wanted="a proved ONNX model",
                got=proof.reason,
                then="serve its pipeline",
            )
        facts = read_facts(folder)
        use_case = parse_use_case(facts.use_case, folder / "loop.toml")
        tested = json.loads((folder / SELF_TEST_FILE).read_text(encoding="utf-8"))
        answers = np.asarray(tested["answers"], dtype=float).reshape(
            len(tested["rows"]), len(facts.classes)
        )
        session = _start_session((folder / ONNX_FILE).read_bytes())
        _check_shape(session, use_case, facts)
    except ModelError:
        raise
    except Exception as error:  # whatever a damaged file does to a reader becomes one sentence
        raise ModelError(
            where=f"bundle {folder.name}",
            wanted="a whole bundle",
            got=f"{type(error).__name__}: {error}",
            then="register the model again with: closedloop train",
        ) from error
    return ServedModel(session, facts, use_case, tested["rows"], answers)


def _start_session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # A request is small and there are others: threads of its own would wait for one another.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; they are raised as well
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _check_shape(session: Any, use_case: UseCase, facts: Facts) -> None:
    """A model of other columns or classes than its facts say is damaged, whatever it would
    answer."""
    wanted = {"numbers": len(use_case.numeric), "texts": len(use_case.categorical)}
    found = {one.name: one.shape[1] for one in session.get_inputs()}
    if found != {name: width for name, width in wanted.items() if width}:
        raise ValueError(f"the model takes {found}, the contract has {wanted}")
    outputs = [(one.name, one.shape[1]) for one in session.get_outputs()]
    if outputs != [("probabilities", len(facts.classes))]:
        raise ValueError(f"the model gives {outputs}, the classes are {len(facts.classes)}")
