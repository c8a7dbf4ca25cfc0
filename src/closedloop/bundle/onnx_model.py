"""A proved ONNX model: onnxruntime's only door. Needs no pandas, scikit-learn or MLflow.

ONNX answers in service because it is measurably faster than the pipeline: see
docs/benchmarks.md. What it may answer is proved when the model is packaged (onnx_proof.py).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from closedloop.errors import ModelError

# The answers are float32, and another processor may round the last digit differently.
ONNX_TOLERANCE = 1e-5


class OnnxScorer:
    """Answers with the content of a `model.onnx`.

    Raises ValueError when the model's columns or number of classes are not these, and whatever
    onnxruntime raises for a damaged one.
    """

    served_by: Literal["onnx"] = "onnx"
    quick = True
    self_test_tolerance = ONNX_TOLERANCE

    def __init__(
        self,
        content: bytes,
        name: str,
        numeric: tuple[str, ...],
        categorical: tuple[str, ...],
        classes: int,
    ) -> None:
        self.numeric, self.categorical = numeric, categorical
        self._name, self._session = name, _start_session(content)
        self._check_shape(classes)

    def probabilities(
        self, numbers: NDArray[np.floating[Any]], texts: NDArray[Any], /
    ) -> NDArray[np.float32]:
        """As `Scorer`; raises ModelError when the arrays have another shape or hold something
        else."""
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
            # Half of a surrogate pair, which JSON can spell: no training data has such a text, so
            # any unseen text gets the same answer.
            return self.probabilities(numbers, _encodable(texts))
        except Exception as error:
            raise self._refusal(f"{type(error).__name__}: {error}") from error
        return answers

    def _refusal(self, got: str) -> ModelError:
        return ModelError(
            where=f"model {self._name}",
            wanted=f"numbers (n, {len(self.numeric)}) and texts (n, {len(self.categorical)})",
            got=got,
            then="pack the rows with pack_rows or pack_frame",
        )

    def _check_shape(self, classes: int) -> None:
        columns = {"numbers": len(self.numeric), "texts": len(self.categorical)}
        wanted = {name: width for name, width in columns.items() if width}
        found = {tensor.name: tensor.shape[1] for tensor in self._session.get_inputs()}
        if found != wanted:
            raise ValueError(f"the model takes {found}, the contract has {columns}")
        outputs = [(tensor.name, tensor.shape[1]) for tensor in self._session.get_outputs()]
        if outputs != [("probabilities", classes)]:
            raise ValueError(f"the model gives {outputs}, its facts name {classes} classes")


def _encodable(texts: NDArray[Any]) -> NDArray[Any]:
    out = np.empty(texts.shape, dtype=object)
    out.flat[:] = [
        str(text).encode("utf-8", "backslashreplace").decode("utf-8") for text in texts.flat
    ]
    return out


def _start_session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Requests are small and many: threads of the session's own would wait for one another.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only; they are raised too
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
