"""Which columns `closedloop predict` asks for, and which it writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from closedloop.bundle.loaded import LoadedVersion, load_version
from closedloop.cli.score_table import score_table
from closedloop.errors import SourceError
from closedloop.use_case.loop_toml import parse_use_case
from tests.unit.cli.small_models import CONTENT, make_rows, pack


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedVersion:
    return load_version(pack(tmp_path_factory.mktemp("bundles") / "logistic", "logistic"))


def test_a_table_may_lack_an_optional_column(model: LoadedVersion, tmp_path: Path) -> None:
    """Its rows have the scores of nulls, without a warning; a column that is not optional is asked
    for by name."""
    columns = {**CONTENT["columns"], "plan": {"type": "categorical", "optional": True}}
    lenient = replace(
        model, use_case=parse_use_case({**CONTENT, "columns": columns}, Path("loop.toml"))
    )
    rows, out = make_rows(200), tmp_path / "scores.csv"
    found = {}
    for name, table in {
        "null": rows.assign(plan=None),
        "missing": rows.drop(columns="plan"),
        "neither": rows.drop(columns=["plan", "visits"]),
    }.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        if name == "neither":
            with pytest.raises(SourceError, match="every feature column of the model, got no visi"):
                score_table(lenient, 3, tmp_path / f"{name}.csv", out)
            continue
        assert score_table(lenient, 3, tmp_path / f"{name}.csv", out).violations == ()
        found[name] = pd.read_csv(out)
    assert found["missing"].equals(found["null"])
    assert len(found["null"]) == 200
