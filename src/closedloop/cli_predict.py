"""`closedloop predict IN OUT`: score a table with the production model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from closedloop.errors import RegistryError, SourceError
from closedloop.evidence import Violation
from closedloop.loop import Loop
from closedloop.packaging import Bundle
from closedloop.schema import check_contract, prepare
from closedloop.sources import read_table

_ENDINGS = (".csv", ".parquet")


@dataclass(frozen=True)
class Scored:
    """What was scored, with which version, and how the rows broke the contract: such answers are worth little."""

    rows: int
    version: int
    violations: tuple[Violation, ...]


def predict_table(loop: Loop, table: Path, out: Path) -> Scored:
    """Write the rows' key, prediction, class probabilities and version to `out`, in their order.

    `out` appears whole or not at all. Raises SourceError when a feature column is absent, an ending is unknown or `out` cannot be
    written, RegistryError when nothing is in production.
    """
    if out.suffix.lower() not in _ENDINGS:
        raise SourceError(where=str(out), wanted="a name that ends in .csv or .parquet", got=out.suffix or "no ending", then="rename OUT")
    if table.exists() and out.exists() and table.samefile(out):
        raise SourceError(where=str(out), wanted="another file than IN", got="the same", then="choose another OUT")
    version = loop.registry.production()
    if version is None:
        raise RegistryError(
            where=f"model {loop.use_case.name}", wanted="a production model", got="none", then="make one: closedloop monitor"
        )
    raw = read_table(table)
    bundle = loop.registry.load(version)
    if missing := [name for name in bundle.use_case.columns if name not in raw]:
        raise SourceError(where=str(table), wanted="every feature column of the model", got=f"no {', '.join(missing)}",
                          then="add the columns to the table")  # fmt: skip
    prepared = prepare(raw, bundle.use_case)
    _write(score_rows(bundle, raw, prepared, version), out)
    return Scored(len(raw), version, check_contract(raw, prepared, bundle.use_case))


def score_rows(bundle: Bundle, raw: pd.DataFrame, prepared: pd.DataFrame, version: int) -> pd.DataFrame:
    """The rows' key (when they have it), prediction, `probability_CLASS` of each class, and version, in the order of the rows."""
    classes = np.asarray(bundle.facts.classes, dtype=object)
    key = bundle.use_case.key
    answers = bundle.probabilities(prepared) if len(raw) else np.empty((0, len(classes)))
    scored = pd.DataFrame({key: raw[key]} if key in raw else {}, index=raw.index)
    scored["prediction"] = classes[answers.argmax(axis=1)]
    for number, label in enumerate(classes):
        scored[f"probability_{label}"] = answers[:, number]
    scored["version"] = version
    return scored


def _write(scored: pd.DataFrame, out: Path) -> None:
    temporary = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix.lower() == ".csv":
            scored.to_csv(temporary, index=False)
        else:
            scored.to_parquet(temporary, index=False)
        temporary.replace(out)
    except OSError as error:
        raise SourceError(
            where=str(out), wanted="a file that can be written", got=error.strerror or str(error), then="choose another OUT"
        ) from error
    finally:
        if temporary.exists():
            temporary.unlink()
