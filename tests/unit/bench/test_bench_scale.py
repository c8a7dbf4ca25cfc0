"""What `make bench-scale` measures, with few rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.scale import Figure, main, make_rows, summarise, write_table
from tests.bench.scale_records import measure_records

pytestmark = pytest.mark.slow


def test_the_table_has_twenty_columns_and_is_always_the_same() -> None:
    """Two draws are equal, and as many rows come as were asked for."""
    first, second = (list(make_rows(120_000)) for _ in range(2))
    assert [part.num_rows for part in first] == [100_000, 20_000]
    assert first[0].num_columns == 20
    assert all(part.equals(other) for part, other in zip(first, second, strict=True))


@pytest.mark.nightly
def test_seconds_and_memory_are_written(tmp_path: Path) -> None:
    """Each part of each size and ending, with the machine and the command."""
    out = tmp_path / "scale.json"
    small = ["--rows", "2000", "--endings", "csv", "--parts", "init"]
    assert main([*small, "--out", str(out)]) == 0
    content = json.loads(out.read_text())
    assert [figure["part"] for figure in content["figures"]] == ["init", "init by time"]
    assert all(figure["seconds"] > 0 and figure["peak_mb"] > 50 for figure in content["figures"])
    assert content["command"].startswith("python -m tests.bench.scale --rows 2000")
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.nightly
def test_records_are_read_on_every_database(tmp_path: Path) -> None:
    """Rows that came one by one and in large requests, whole and in chunks."""
    table, folder = tmp_path / "orders.parquet", tmp_path / "run"
    folder.mkdir()
    write_table(table, 2_500)
    used = measure_records(table, folder)
    assert {"read single rows, SQLite", "chunks requests of 1,000, SQLite"} <= set(used)
    assert (folder / "printed").read_text() == "2500 rows\n"
    assert not list(folder.glob("records.db*"))


def test_turns_and_drift_are_put_beside_one_another() -> None:
    """By rows: a turn's seconds and memory, and our share of Evidently's time without reading."""
    parts = {"turn with retraining": 9, "drift, read": 2, "drift, ours": 3, "drift, evidently": 12}
    figures = [Figure(part, 50, "csv", 7, busy, 300) for part, busy in parts.items()]
    assert summarise(figures) == {
        "turn_seconds": {50: 7},
        "turn_peak_mb": {50: 300},
        "drift_ratio_vs_evidently": {50: 0.1},
    }


@pytest.mark.nightly
def test_a_turn_and_drift_are_measured(tmp_path: Path) -> None:
    """With few rows: a first model and one compared with it, and three processes for drift."""
    out = tmp_path / "scale.json"
    small = ["--rows", "6000", "--endings", "parquet", "--parts", "turn", "drift"]
    assert main([*small, "--out", str(out)]) == 0
    content = json.loads(out.read_text())
    assert set(content["turn_seconds"]) == set(content["drift_ratio_vs_evidently"]) == {"6000"}
