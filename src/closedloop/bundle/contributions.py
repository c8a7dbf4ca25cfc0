"""Why this score: what each column of a row adds to the margin of a version's pipeline.

The margin is the log odds of the second class of two, and for more classes the score of each
before softmax. Base and contributions add up to it. How they are found:

- `exact`: for a logistic regression, coefficient x (value - mean over the background rows). It is
  the Shapley value of a linear model whose columns are changed independently (Lundberg and Lee,
  "A unified approach to interpreting model predictions", 2017);
- `tree`: for boosted trees, TreeSHAP by their own library (Lundberg, Erion, Lee, "Consistent
  individualized feature attribution for tree ensembles", 2018);
- `sampled`: for any other pipeline, over random orders in which the columns of a background row
  are replaced by those of the row, each order also backwards (Štrumbelj and Kononenko, 2014;
  Mitchell and others, "Sampling permutations for Shapley value estimation", 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from closedloop.bundle.contribution_columns import Encoded, read_encoding
from closedloop.bundle.frames import pack_frame, unpack_frame
from closedloop.bundle.loaded import LoadedVersion
from closedloop.bundle.onnx_trees import read_lightgbm
from closedloop.bundle.sampled_contributions import Sampler
from closedloop.bundle.scorer import pack_rows
from closedloop.bundle.skops_model import BACKGROUND_ROWS, choose_background
from closedloop.errors import ModelError

Method = Literal["exact", "tree", "sampled"]


@dataclass(frozen=True, eq=False)
class Contributions:
    """Of n rows, to the margins of m classes: 1 when there are two classes, else all.

    `margins` (n, m), `base` (m,), `values` (n, m, d) in the order of `Explainer.columns`. `errors`
    (n, m, d) are the standard errors of sampled values, None when they are not sampled.
    """

    margins: NDArray[np.float64]
    base: NDArray[np.float64]
    values: NDArray[np.float64]
    errors: NDArray[np.float64] | None = None


class Explainer:
    """Explains rows by a version that was loaded with its pipeline.

    `columns` are numeric, then categorical; `classes` those whose margins are explained;
    `evaluations` the rows that the pipeline scores to explain one, 0 when nothing is sampled.
    Raises ModelError for a version without background rows, where they are needed.
    """

    def __init__(self, version: LoadedVersion) -> None:
        scorer, classes = version.scorer, version.facts.classes
        self._pipeline: Any = getattr(scorer, "pipeline", None)
        if self._pipeline is None:
            raise TypeError("wanted a version of load_with_pipeline")
        self._sides = scorer.numeric, scorer.categorical
        self.columns = (*scorer.numeric, *scorer.categorical)
        self.classes = classes if len(classes) > 2 else classes[-1:]
        self.method: Method = "sampled"
        self.evaluations = 0
        encoding = read_encoding(self._pipeline, self.columns)
        if encoding and _adds_up_to_log_odds(encoding.model):
            self.method = "tree"
            self._explain = _trees(encoding, _TREES[type(encoding.model).__name__][0])
        elif encoding and _is_linear(encoding.model):
            self.method = "exact"
            mean = encoding.encode(unpack_frame(*_background(version), *self._sides)).mean(axis=0)
            self._explain = _linear(encoding, mean)
        else:
            self._sampler = Sampler(scorer.probabilities, *_background(version))
            self.evaluations = self._sampler.evaluations

    def explain(self, numbers: NDArray[np.float64], texts: NDArray[Any]) -> Contributions:
        """What the columns of packed rows, as a scorer takes them, contribute.

        Raises ModelError for values that are no finite numbers.
        """
        if self.method == "sampled":
            found = Contributions(*self._sampler.explain(numbers, texts))
        else:
            found = self._explain(unpack_frame(numbers, texts, *self._sides))
        parts = (found.margins, found.base, found.values)
        if not all(np.isfinite(part).all() for part in parts):
            raise ModelError(
                where="contributions",
                wanted="finite numbers",
                got="others",
                then="train again: closedloop train",
            )
        return found


def _background(version: LoadedVersion) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Rows of the reference sample; versions before 0.2.0 have them only as a Parquet file."""
    numeric, categorical = version.scorer.numeric, version.scorer.categorical
    if version.self_test.background:
        return pack_rows(version.self_test.background[:BACKGROUND_ROWS], numeric, categorical)
    try:
        rows = choose_background(version.reference())
    except ImportError:
        rows = None
    if rows is None or rows.empty:
        raise ModelError(
            where="contributions",
            wanted="rows of the reference sample beside the self-test",
            got="a version of an older closedloop, and no pyarrow here to read its sample"
            if rows is None
            else "none",
            then="train again: closedloop train",
        )
    return pack_frame(rows, numeric, categorical)


# Each library's own TreeSHAP gives raw scores (n, m), and contributions with the base as the last
# column, (n, m, width + 1). One thread: more would take the processors of those who answer.
def _lightgbm(model: Any, encoded: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    raw = model.booster_.predict(encoded, raw_score=True, num_threads=1)
    return raw, model.booster_.predict(encoded, pred_contrib=True, num_threads=1)


def _xgboost(model: Any, encoded: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    from xgboost import DMatrix

    booster = model.get_booster()
    booster.set_param({"nthread": 1})
    parts = booster.predict(DMatrix(encoded, nthread=1), pred_contribs=True).astype(np.float64)
    return parts.sum(axis=-1), parts  # its raw scores have seven digits, as have the parts


def _catboost(model: Any, encoded: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    from catboost import Pool

    rows = Pool(encoded)
    raw = model.predict(rows, prediction_type="RawFormulaVal", thread_count=1)
    return raw, model.get_feature_importance(rows, type="ShapValues", thread_count=1)


def _is_plain_lightgbm(model: Any) -> bool:
    try:
        read_lightgbm(model)
    except ModelError:
        return False
    return True


def _is_plain_xgboost(model: Any) -> bool:
    plain = model.objective in ("binary:logistic", "multi:softprob")
    return plain and model.booster in (None, "gbtree")


def _is_plain_catboost(model: Any) -> bool:
    return model.get_all_params()["loss_function"] in ("Logloss", "MultiClass")


_TREES = {
    "LGBMClassifier": (_lightgbm, _is_plain_lightgbm),
    "XGBClassifier": (_xgboost, _is_plain_xgboost),
    "CatBoostClassifier": (_catboost, _is_plain_catboost),
}


def _adds_up_to_log_odds(model: Any) -> bool:
    """Whether it is a boosted model whose trees' sum is the margin; of averages it is not."""
    found = _TREES.get(type(model).__name__)
    return found is not None and found[1](model)


def _is_linear(model: Any) -> bool:
    # Liblinear fits one regression a class, and its probabilities are not their softmax.
    return type(model).__name__ == "LogisticRegression" and not (
        model.solver == "liblinear" and len(model.classes_) > 2
    )


def _trees(
    encoding: Encoded, shares: Callable[[Any, NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]
) -> Callable[[Any], Contributions]:
    def explain(frame: Any) -> Contributions:
        encoded = encoding.encode(frame)
        raw, found = shares(encoding.model, encoded)
        margins = raw.reshape(len(encoded), -1)
        parts = found.reshape(len(encoded), -1, encoded.shape[1] + 1)
        base = parts[0, :, -1] if len(parts) else np.zeros(parts.shape[1])
        return Contributions(margins, base, encoding.add_up(parts[..., :-1]))

    return explain


def _linear(encoding: Encoded, mean: NDArray[Any]) -> Callable[[Any], Contributions]:
    coefficients = np.asarray(encoding.model.coef_, dtype=np.float64)
    base = coefficients @ mean + encoding.model.intercept_

    def explain(frame: Any) -> Contributions:
        encoded = encoding.encode(frame)
        margins = encoding.model.decision_function(encoded).reshape(len(encoded), -1)
        parts = (encoded - mean)[:, np.newaxis, :] * coefficients
        return Contributions(margins, base, encoding.add_up(parts))

    return explain
