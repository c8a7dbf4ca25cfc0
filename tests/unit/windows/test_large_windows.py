"""A window that is larger than memory is counted whole, and a seeded sample of it is kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.decisions.evidence import Violation
from closedloop.errors import SourceError
from closedloop.turn.compute import Compute, ReadWindow
from closedloop.use_case.compute_rules import ComputeRules
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.windows import rows_of_files
from closedloop.windows.contract_check import (
    check_contract,
    judge_contract,
    measure_statistics,
)
from closedloop.windows.contract_counts import ContractCounts
from closedloop.windows.open_source import open_source
from closedloop.windows.prepare import digest, prepare
from closedloop.windows.sources import WindowSource, read_chunks
from tests.unit.windows.conftest import CONTENT

ROWS, KEPT = 53_000, 10_000


class FewRows(ComputeRules):
    """As if there were memory for 10,000 rows."""

    def rows(self, columns: int) -> int:
        return KEPT


def make_rows(rows: int = ROWS, seed: int = 1) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": [f"u{number}" for number in range(rows)],
            "fee": draw.gamma(3, 20, rows).clip(0, 400).round(2),
            "plan": draw.choice(["Month-to-month", "One year"], rows),
            "level": draw.integers(0, 9, rows),
            "label": draw.choice(["no", "Yes"], rows, p=[0.9, 0.1]),
        }
    )


class Frames:
    """A source whose only window is a frame, in chunks of any size."""

    def __init__(self, frame: pd.DataFrame, size: int | None = None) -> None:
        self._frame, self._size = frame, size

    def windows(self) -> tuple[str, ...]:
        return ("w",)

    def read(self, window: str) -> pd.DataFrame:
        return self._frame

    def chunks(self, window: str, rows: int) -> Any:
        size = self._size or rows
        for first in range(0, len(self._frame), size):
            yield self._frame.iloc[first : first + size].reset_index(drop=True)


def look(
    use_case: UseCase, frame: pd.DataFrame, statistics: Any = None, size: int | None = None
) -> ReadWindow:
    source = Frames(frame, size)
    return Compute().read_window(source, "w", 0, use_case, statistics)


@pytest.fixture
def few(use_case: UseCase) -> UseCase:
    """The use case with memory for 10,000 rows of a window."""
    return replace(use_case, compute=FewRows())


def test_all_rows_are_counted_and_a_sample_is_kept(few: UseCase) -> None:
    """Rows, labels by class and columns are those of all rows; the sample is drawn evenly, always
    the same, in order, and says how uncertain it is."""
    frame = make_rows().assign(comment="x")
    read = look(few, frame)
    labels = frame["label"].value_counts()
    assert read.facts.rows == read.facts.labelled_rows == ROWS
    assert read.facts.labels_per_class == (("no", labels["no"]), ("Yes", labels["Yes"]))
    assert read.violations == ()
    assert read.unnamed_columns == ("comment",)
    assert len(read.prepared) == len(read.labelled.labels) == KEPT
    places = read.prepared["id"].str[1:].astype(int)
    assert places.is_monotonic_increasing
    assert places.is_unique
    assert abs(places.mean() / ROWS - 0.5) < 0.02
    assert read.prepared.equals(look(few, frame).prepared)
    (note,) = read.notes
    assert note.startswith("10,000 of 53,000 rows, drawn at random")
    assert "0.98 percentage" in note


def test_a_window_that_fits_is_read_as_ever(use_case: UseCase) -> None:
    """All rows are kept, nothing is noted, and the digest is that of the rows: windows that were
    judged before stay the same windows."""
    frame = make_rows(2 * KEPT - 1)
    for rules in (ComputeRules(), FewRows()):
        read = look(replace(use_case, compute=rules), frame, size=len(frame))
        prepared = prepare(frame, use_case)
        assert read.prepared.equals(prepared)
        assert read.notes == ()
        assert read.facts.digest == digest(prepared, use_case)


def test_the_digest_sees_every_cell_however_the_rows_are_read(few: UseCase) -> None:
    """Other chunks give the same digest, a change of any cell or of the order another one."""
    frame = make_rows()
    whole = look(few, frame).facts.digest
    assert look(few, frame, size=7_001).facts.digest == whole
    for row, column, value in ((0, "fee", 1.0), (ROWS - 1, "level", 77), (50_001, "label", None)):
        changed = frame.astype({"level": object, "label": object})
        changed.loc[row, column] = value
        assert look(few, changed).facts.digest != whole
    assert look(few, frame.iloc[::-1].reset_index(drop=True)).facts.digest != whole


def _set(column: str, value: Any, every: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        changed = frame.astype({column: object})
        changed.loc[::every, column] = value
        return changed

    return change


def describe(broken: Violation) -> tuple[str, str, str, str]:
    return broken.column, broken.rule, broken.wanted, broken.got.partition(", median")[0]


FAULTS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "none": lambda frame: frame,
    "missing": lambda frame: frame.drop(columns=["fee", "id"]),
    "no numbers": _set("fee", "many", 50),
    "nulls": _set("fee", None, 10),
    "null categories": _set("plan", "", 10),
    "range": lambda frame: frame.assign(fee=frame["fee"] * 100),
    "categories": _set("plan", "weekly", 30),
    "labels": _set("label", "maybe", 20),
    "keys": _set("id", "u7", 40),
    "unit": lambda frame: frame.assign(fee=frame["fee"] / 1000),
    "a few": _set("plan", "weekly", 1_000),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_contract_is_that_of_all_rows(few: UseCase, fault: str) -> None:
    """Counted in chunks it is broken in the same words; only a median is that of the sample."""
    statistics = measure_statistics(prepare(make_rows(), few), few)
    frame = FAULTS[fault](make_rows())
    found = look(few, frame, statistics).violations
    wanted = check_contract(frame, prepare(frame, few), few, statistics)
    assert bool(found) == (fault not in ("none", "a few"))
    told, ours = [list(map(describe, broken)) for broken in (wanted, found)]
    if fault == "unit":
        assert [entry[:3] for entry in ours] == [entry[:3] for entry in told]
    else:
        assert ours == told


def write_files(frame: pd.DataFrame, folder: Path) -> dict[str, dict[str, Any]]:
    """The frame where each kind of source reads it, with the `source` table of each."""
    folder.mkdir(parents=True)
    frame.to_csv(folder / "2026-01.csv", index=False)
    frame.to_parquet(folder / "2026-01.parquet")
    months = frame.assign(month=["2026-01", "2026-02"] * (len(frame) // 2))
    months.to_csv(folder / "months.tsv", index=False, sep="\t")
    times = pd.to_datetime("2026-01-01") + pd.to_timedelta(np.arange(len(frame)) // 2, "m")
    later = pd.DataFrame({"at": [pd.Timestamp("2026-03-20")]})
    pd.concat([frame.assign(at=times), later]).to_parquet(folder / "times.parquet")
    with sqlite3.connect(folder / "rows.db") as connection:
        frame.to_sql("rows", connection, index=False)
    connection.close()
    query = "SELECT * FROM '{root}/{window}.parquet'"
    return {
        "csv": {"windows": "2026*.csv"},
        "parquet": {"windows": "2026*.parquet"},
        "query": {"windows": "2026*.parquet", "query": query},
        "sql": {
            "kind": "sql",
            "url": f"sqlite:///{folder / 'rows.db'}",
            "windows_query": "SELECT '2026-01'",
            "query": "SELECT * FROM rows WHERE '{window}' = '2026-01'",
        },
        "window column": {
            "windows": "months.tsv",
            "window_column": "month",
            "delimiter": "\t",
        },
        "time column": {"windows": "times.parquet", "time_column": "at", "every": "month"},
        "new rows": {"windows": "2026*.parquet", "new_rows": True},
    }


KINDS = ("csv", "parquet", "query", "sql", "window column", "time column", "new rows")


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_reads_in_chunks_what_it_reads_at_once(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chunks of a window, large files included, hold the rows of `read`; a window that is small
    enough is one chunk."""
    table = write_files(make_rows(6_000), tmp_path / "data")[kind]
    use_case = parse_use_case({**CONTENT, "source": table}, tmp_path / "data" / "loop.toml")
    at_once = open_source(use_case).read("2026-01")
    assert len(at_once) == (3_000 if kind == "window column" else 6_000)
    monkeypatch.setattr(rows_of_files, "KEPT_BYTES", 0)
    source: WindowSource = open_source(use_case)
    assert source.windows()[0] == "2026-01"
    ready = partial(prepare, use_case=use_case)
    for rows, parts in ((1_000, len(at_once) // 1_000), (6_000, 1)):
        chunks = [ready(chunk) for chunk in read_chunks(source, "2026-01", rows)]
        assert len(chunks) == parts
        assert pd.concat(chunks, ignore_index=True).equals(ready(at_once))
    assert ready(source.read("2026-01")).equals(ready(at_once))


@pytest.mark.parametrize("kind", ["window column", "new rows"])
def test_rows_that_are_written_meanwhile_are_an_error(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read twice has to be the same: a file that grows in between is named."""
    folder = tmp_path / "data"
    table = write_files(make_rows(6_000), folder)[kind]
    use_case = parse_use_case({**CONTENT, "source": table}, folder / "loop.toml")
    monkeypatch.setattr(rows_of_files, "KEPT_BYTES", 0)
    source = open_source(use_case)
    chunks = read_chunks(source, "2026-01", 1_000)
    if kind == "window column":
        source.windows()
        with (folder / "months.tsv").open("a", encoding="utf-8") as file:
            file.write("u9\t1\tOne year\t1\tno\t2026-01\n")
    else:
        # The first reading finds what is new, the second gives it.
        read_once = source.whole.chunks

        def grow(window: str, rows: int) -> Any:
            yield from read_once(window, rows)
            make_rows(6_001).to_parquet(folder / "2026-01.parquet")

        monkeypatch.setattr(type(source.whole), "chunks", lambda _self, *asked: grow(*asked))
    with pytest.raises(SourceError, match="more or fewer: somebody writes to them"):
        list(chunks)


def test_a_column_that_only_some_files_have_is_there(use_case: UseCase) -> None:
    """Rows of several files are one window: a part without the column counts as null."""
    counts = ContractCounts(use_case)
    without = make_rows(910)[900:].drop(columns="fee")
    for frame in (make_rows(900), without):
        counts.add(frame, prepare(frame, use_case))
    assert judge_contract(counts, prepare(make_rows(900), use_case)) == ()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_that_is_damaged_far_behind_breaks_its_window(tmp_path: Path, kind: str) -> None:
    """A fault after the first chunks is the window's, which then has no rows at all."""
    table = write_files(make_rows(), tmp_path / "data")[kind]
    use_case = parse_use_case({**CONTENT, "source": table}, tmp_path / "data" / "loop.toml")
    path = tmp_path / "data" / f"2026-01.{kind}"
    content = bytearray(path.read_bytes())
    if kind == "csv":
        content += b'u1,"2,Month\n'
    else:
        content[len(content) // 2 : len(content) // 2 + 50_000] = bytes(50_000)
    path.write_bytes(content)
    use_case = replace(use_case, compute=FewRows())
    read = Compute().read_window(open_source(use_case), "2026-01", 0, use_case, None)
    (broken,) = read.violations
    assert (broken.rule, read.facts.rows, len(read.prepared)) == ("file", 0, 0)


@pytest.mark.parametrize("memory", ["2", "2GB", "-1GiB", "100MiB", "", "2 TiB"])
def test_memory_is_written_with_its_unit(memory: str) -> None:
    """Anything else, and too little to work with, is refused with an example."""
    with pytest.raises(ValueError, match=r'memory must be .*"'):
        ComputeRules(memory)
    assert ComputeRules("4 GiB").rows(20) > ComputeRules("2048MiB").rows(20) >= KEPT
