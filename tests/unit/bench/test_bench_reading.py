"""`make bench-reading`: the records that it makes, and what it writes of its figures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from closedloop.records.labels import Label
from closedloop.records.reading import RecordCounts
from closedloop.records.store import Records
from closedloop.storage.engine import open_engine
from tests.bench.reading import BEGIN, END, KEY, fill, table, write_block
from tests.bench.servers import ROOT
from tests.bench.subject import NAME, Subject, make_rows, write_use_case


def test_the_records_are_answers_of_yesterday_with_keys(tmp_path: Path) -> None:
    """Every row is in one window of records, and a label finds it by its key."""
    use_case = write_use_case(tmp_path / "loop.toml", KEY)
    made = make_rows(use_case, 3, 1)[list(use_case.columns)].to_dict(orient="records")
    url = f"sqlite:///{tmp_path / 'records.db'}"
    fill(url, Subject(use_case, tmp_path, tmp_path, made, []), 50)  # type: ignore[arg-type]
    records = Records(open_engine(url))
    assert records.label_many([Label("True", key="k49")], NAME) == 1
    assert records.count(NAME) == RecordCounts(50, 1)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    assert records.read_periods(NAME, "day", today) == (today - timedelta(days=1),)
    frame = records.read(use_case)
    assert frame[KEY].tolist() == [f"k{number}" for number in range(50)]
    assert frame["number_0"].tolist()[:4] == [
        *(row["number_0"] for row in made),
        made[0]["number_0"],
    ]


def test_the_figures_stand_between_their_marks() -> None:
    """The worst p99 and the slowest answer of each kind, and how many times; the rest of the
    document stays."""
    loads = [
        {"p50_ms": 1.0, "p99_ms": 2.0, "max_ms": 9.0},
        {"p50_ms": 3.0, "p99_ms": 4, "max_ms": 5},
    ]
    lines = table(
        {
            "quiet": loads[:1],
            "busy": loads,
            "times": 2.0,
            "label_requests": 7,
            "slowest_labels_seconds": 0.55,
            "log_mb": 48.2,
            "records": 2_000_000,
            "seconds": 10,
            "date": "2026-11-29",
            "machine": {
                "processor": "a processor",
                "processors": 2,
                "python": "3.11.7",
                "load_before": 0.1,
            },
        }
    )
    assert "| in quiet | 1.00 | 2.00 | 9.00 |" in lines
    assert "| meanwhile | 2.00 | 4.00 | 9.00 |" in lines
    document = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    written = write_block(document, lines)
    assert written.partition(BEGIN)[0] == document.partition(BEGIN)[0]
    assert written.partition(END)[2] == document.partition(END)[2]
    assert "2.0 times the p99 in quiet" in written
    with pytest.raises(ValueError, match="no place for the figures"):
        write_block("nothing", lines)
