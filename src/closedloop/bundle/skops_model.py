"""A fitted scikit-learn pipeline that answers, and its files. skops' only door: no pickle is read.

A bundle is a folder: the MLflow model (`model.skops` and its MLmodel file, written by the
registry), `facts.json` (what the model is and the contract it was fitted under), `self_test.json`
(rows with the fitted pipeline's answers), `reference.parquet` (a bounded sample of its training
rows), `proof.json` (what answers in service, and why) and, where it was proved, `model.onnx`.
"""

from __future__ import annotations

import json
from importlib.metadata import packages_distributions, version
from io import BytesIO
from pathlib import Path, PurePath
from typing import Any, Literal
from zipfile import ZipFile, ZipInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.bundle.files import (
    FACTS_FILE,
    MAX_BUNDLE_BYTES,
    MODEL_FILE,
    REFERENCE_FILE,
    SELF_TEST_FILE,
    Facts,
    write_json,
)
from closedloop.bundle.frames import unpack_frame
from closedloop.bundle.own_code import own_types
from closedloop.errors import ModelError

# What skops may rebuild beyond scikit-learn's own types. A fixed list: a type that is not on it is
# refused, not asked about.
TRUSTED_TYPES = (
    "catboost.core.CatBoostClassifier",
    "collections.OrderedDict",
    "collections.defaultdict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
)
_SCHEMA = "schema.json"  # in an archive of skops
_EXTRAS = ("catboost", "xgboost")
SELF_TEST_TOLERANCE = 1e-9
# Rows of the reference that contributions are measured against. They are kept as JSON beside the
# self-test, because a service cannot read Parquet.
BACKGROUND_ROWS = 100


class PipelineScorer:
    """Answers with a fitted pipeline.

    `fitted_on` is the platform where it was fitted, if that was not here.
    """

    served_by: Literal["pipeline"] = "pipeline"
    quick = False
    self_test_tolerance = SELF_TEST_TOLERANCE

    def __init__(
        self, pipeline: Any, numeric: tuple[str, ...], categorical: tuple[str, ...]
    ) -> None:
        self._pipeline = pipeline
        self.fitted_on: str | None = None
        self.numeric, self.categorical = numeric, categorical

    @property
    def pipeline(self) -> Any:
        """The fitted pipeline."""
        return self._pipeline

    def probabilities(
        self, numbers: NDArray[np.floating[Any]], texts: NDArray[Any], /
    ) -> NDArray[np.float64]:
        """As `Scorer`."""
        rows = unpack_frame(numbers, texts, self.numeric, self.categorical)
        return np.asarray(self.pipeline.predict_proba(rows), dtype=np.float64)


def load_libraries() -> None:
    """Import skops now (seconds) rather than when the first model is packaged or loaded."""
    import skops.io  # noqa: F401


def write_facts(
    folder: Path,
    facts: Facts,
    self_test: pd.DataFrame,
    answers: np.ndarray,
    reference: pd.DataFrame,
    labels: np.ndarray | None = None,
) -> None:
    """Add facts, self-test and reference to a folder that already holds the saved model.

    `labels` are the numbers of the classes of the self-test's rows.
    """
    write_json(folder / FACTS_FILE, facts)
    write_json(
        folder / SELF_TEST_FILE,
        {
            "rows": _as_records(self_test),
            "answers": answers.tolist(),
            **({} if labels is None else {"labels": labels.tolist()}),
            "background": _as_records(choose_background(reference[list(self_test.columns)])),
        },
    )
    reference.to_parquet(folder / REFERENCE_FILE, index=False)


def choose_background(reference: pd.DataFrame) -> pd.DataFrame:
    """At most BACKGROUND_ROWS rows, spread evenly over all."""
    most = min(BACKGROUND_ROWS, len(reference))
    return reference.iloc[np.linspace(0, len(reference) - 1, most).astype(int)]


def _as_records(rows: pd.DataFrame) -> list[dict[Any, Any]]:
    return rows.astype(object).where(rows.notna(), None).to_dict(orient="records")


def pinned_requirements(pipeline: Any) -> list[str]:
    """The packages that a pipeline needs, in the versions it was fitted with, as pip takes them."""
    # Listed rather than inferred, which takes MLflow ten seconds.
    last = getattr(pipeline, "steps", [("", pipeline)])[-1][1]
    model = type(last).__module__.partition(".")[0]
    # Asking for all distributions takes a second: only for those that have more than one name.
    extra = packages_distributions()[model][:1] if model in _EXTRAS else []
    return [
        f"{name}=={version(name)}"
        for name in ("scikit-learn", "lightgbm", "pandas", "numpy", "skops", *extra)
    ]


def dump_pipeline(pipeline: Any) -> bytes:
    """A fitted pipeline as `model.skops` holds it; the same bytes for the same pipeline.

    skops names objects after their addresses and dates the files; here they are numbered and have
    the date of an empty archive. `load_pipeline` reads both.
    """
    from skops.io import dumps

    with ZipFile(BytesIO(dumps(pipeline))) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    schema, numbers, files = json.loads(content.pop(_SCHEMA)), dict[Any, int](), dict[str, str]()
    waiting: list[Any] = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            waiting += node.values()
            if "__id__" in node:
                node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
            if (old := node.get("file")) in content:
                node["file"] = files.setdefault(old, f"{len(files) + 1}{PurePath(old).suffix}")
    written = BytesIO()
    with ZipFile(written, "w") as archive:
        for old, new in files.items():
            archive.writestr(ZipInfo(new), content[old])
        archive.writestr(ZipInfo(_SCHEMA), json.dumps(schema))
    return written.getvalue()


def refuse_foreign(pipeline: Any) -> None:
    """Raise ModelError for a fitted pipeline of types that are not trusted, or that skops refuses.

    It writes the pipeline once more, so this is asked where something went wrong already.
    """
    from skops.io import dumps, get_untrusted_types

    try:
        found = set(get_untrusted_types(data=dumps(pipeline)))
    except Exception as error:
        raise ModelError(
            where="the fitted pipeline",
            wanted="types and functions that skops can write",
            got=f"{type(error).__name__}: {error}",
            then="use classes and functions of a module, no lambda and nothing of __main__",
        ) from error
    if foreign := sorted(found - {*TRUSTED_TYPES, *own_types()}):
        listed = ", ".join(f'"{name}"' for name in foreign)
        then = f"if you know them, add to the recipe: trusted = [{listed}]"
        if "<lambda>" in listed:
            then = "use a function with a name in the place of a lambda"
        raise ModelError(
            where="the fitted pipeline",
            wanted="types that closedloop knows, or that loop.toml trusts",
            got=", ".join(foreign),
            then=then,
        )


def load_pipeline(content: bytes) -> Any:
    """Read a `model.skops`; raises ModelError when it needs a type that is not trusted.

    Raises ValueError for an archive with a name twice, or whose files together are too large.
    """
    from skops.io import get_untrusted_types, loads

    with ZipFile(BytesIO(content)) as archive:
        files = archive.infolist()
    if len({file.filename for file in files}) < len(files):
        raise ValueError(f"a file is twice in {MODEL_FILE}")
    if sum(file.file_size for file in files) > MAX_BUNDLE_BYTES:
        raise ValueError(f"the files in {MODEL_FILE} have more than {MAX_BUNDLE_BYTES:,} bytes")
    trusted = [*TRUSTED_TYPES, *own_types()]
    foreign = sorted(set(get_untrusted_types(data=content)) - set(trusted))
    if foreign:
        raise ModelError(
            where=MODEL_FILE,
            wanted="only types of the learners that closedloop knows, or that loop.toml trusts",
            got=", ".join(foreign),
            then="put the recipe of these types back into loop.toml and start the API again, "
            "if you know them; otherwise do not serve this file",
        )
    return loads(content, trusted=trusted)
