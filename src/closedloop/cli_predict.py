"""`closedloop predict IN OUT`: score a table with the production model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from closedloop.errors import RegistryError, SourceError
from closedloop.loop import Loop
from closedloop.schema import prepare
from closedloop.sources import read_table


def predict_table(loop: Loop, table: Path, out: Path) -> tuple[int, int]:
    """Write the rows' key, prediction and class probabilities to `out`; returns (rows, version).

    Raises SourceError when a feature column is absent or an ending is unknown, RegistryError when nothing is in production.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise SourceError(where=str(out), wanted="a name that ends in .csv or .parquet", got=out.suffix or "no ending", then="rename OUT")
    version = loop.registry.production()
    if version is None:
        raise RegistryError(
            where=f"model {loop.use_case.name}", wanted="a production model", got="none", then="make one: closedloop monitor"
        )
    bundle = loop.registry.load(version)
    raw = read_table(table)
    missing = [name for name in bundle.use_case.columns if name not in raw]
    if missing:
        raise SourceError(
            where=str(table),
            wanted="every feature column of the model",
            got=f"no {', '.join(missing)}",
            then="add the columns to the table",
        )
    answers = bundle.probabilities(prepare(raw, bundle.use_case))
    classes = np.asarray(bundle.facts.classes, dtype=object)
    key = bundle.use_case.key
    scored = pd.DataFrame({key: raw[key]} if key in raw else {}, index=raw.index)
    scored["prediction"] = classes[answers.argmax(axis=1)]
    for number, label in enumerate(classes):
        scored[f"probability_{label}"] = answers[:, number]
    scored["version"] = version
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(out.name + ".part")
    if out.suffix == ".csv":
        scored.to_csv(temporary, index=False)
    else:
        scored.to_parquet(temporary, index=False)
    temporary.replace(out)
    return len(scored), version
