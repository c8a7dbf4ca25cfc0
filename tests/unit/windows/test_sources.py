"""Sources beyond their common contract: real-world files, addresses, errors, generated windows."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from closedloop.errors import SourceError
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.use_case.source import Source
from closedloop.windows.files_source import FilesSource, root_folder
from closedloop.windows.new_rows_source import NewRowsSource
from closedloop.windows.open_source import open_source
from closedloop.windows.sources import ChainedSource, NoWindows, tell_remarks
from closedloop.windows.sql_source import SqlSource
from closedloop.windows.synthetic import write_generated
from closedloop.windows.tables.chunks import read_table

FRAME = pd.DataFrame({"x": [1, 2], "y": ["a", "b"]})


def use_case(path: Path, **source: Any) -> UseCase:
    content = {
        "name": "test",
        "source": {
            "query": "SELECT * FROM read_csv('{root}/{window}/t.csv')",
            "windows": "m*",
            "root": "rows",
            **source,
        },
        "target": {"column": "y", "classes": ["a", "b"]},
        "columns": {"x": {"type": "numeric"}},
    }
    return parse_use_case(
        {
            **content,
            "source": {key: value for key, value in content["source"].items() if value is not None},
        },
        path / "loop.toml",
    )


def test_root_is_beside_the_file_and_data_replaces_it(tmp_path: Path) -> None:
    """A use case can be read from any working directory; CLOSEDLOOP_DATA wins."""
    shop = use_case(tmp_path)
    assert root_folder(shop) == tmp_path / "rows"
    assert root_folder(shop, tmp_path / "other") == tmp_path / "other"
    write_generated(shop, tmp_path / "other", {"m0": {"t": FRAME}})
    assert open_source(shop, tmp_path / "other").windows() == ("m0",)
    with pytest.raises(NoWindows):
        open_source(shop).windows()


def test_missing_generated_data_names_the_command(tmp_path: Path) -> None:
    """Where there is a generator, the advice is to run it; elsewhere it is not."""
    with pytest.raises(NoWindows, match="closedloop generate"):
        open_source(use_case(tmp_path, generator="iris")).windows()
    with pytest.raises(NoWindows, match=r"fix root and windows in \[source\]"):
        open_source(use_case(tmp_path)).windows()


def test_window_names_lose_their_ending_only(tmp_path: Path) -> None:
    """Dots inside a name stay, compressed files lose both endings, hidden files are no windows,
    folders keep their whole name."""
    for name in ("2024.01.csv", "2024.02.csv.gz", ".2024.03.csv"):
        (tmp_path / name).write_text("x\n1\n")
    (tmp_path / "2024.04").mkdir()
    assert FilesSource(Source(query="q", windows="*"), tmp_path).windows() == (
        "2024.01",
        "2024.02",
        "2024.04",
    )


@pytest.mark.parametrize("name", ["data[1]", "a b", "quo'te", "ünï", "100%"])
def test_odd_file_names_are_read(tmp_path: Path, name: str) -> None:
    """Names as browsers and people give them reach the file they name."""
    FRAME.to_csv(tmp_path / f"{name}.csv", index=False)
    source = FilesSource(
        Source(query="SELECT * FROM read_csv('{root}/{window}.csv')", windows="*.csv"), tmp_path
    )
    assert source.windows() == (name,)
    assert len(source.read(name)) == 2
    assert len(read_table(tmp_path / f"{name}.csv", Source(windows="*"))) == 2


def test_a_missing_table_and_a_wrong_query_are_told_apart(tmp_path: Path) -> None:
    """A missing file is reported in one line; wrong SQL shows what DuckDB reports, without a
    traceback."""
    (tmp_path / "m0").mkdir()
    source = FilesSource(
        Source(query="SELECT * FROM read_csv('{root}/{window}/labels.csv')", windows="m*"), tmp_path
    )
    with pytest.raises(SourceError, match=r"labels\.csv.*add the missing file") as caught:
        source.read("m0")
    assert "\n" not in str(caught.value)
    with pytest.raises(SourceError, match="fix the query") as caught:
        replace(source, source=Source(query="SELEC 1", windows="m*")).read("m0")
    assert "\n" not in str(caught.value)


def test_labels_of_fewer_rows_leave_nulls(tmp_path: Path) -> None:
    """A left join keeps rows whose label has not arrived yet."""
    (tmp_path / "m0").mkdir()
    (tmp_path / "m0" / "a.csv").write_text("id,x\n1,2\n2,3\n")
    (tmp_path / "m0" / "b.csv").write_text("id,y\n1,a\n")
    query = (
        "SELECT id, x, y FROM '{root}/{window}/a.csv' AS a "
        "LEFT JOIN '{root}/{window}/b.csv' AS b USING (id) ORDER BY id"
    )
    read = FilesSource(Source(query=query, windows="m*"), tmp_path).read("m0")
    assert read["y"].isna().tolist() == [False, True]


def test_whole_numbers_of_a_database_are_exact_beside_nulls(tmp_path: Path) -> None:
    """A float tells ids apart only up to 2^53; other columns keep their types."""
    source = Source(
        query="SELECT 9007199254740993 AS id, 1 AS n, 1.5 AS f, 'a' AS t UNION ALL "
        "SELECT NULL, 2, NULL, NULL ORDER BY 2",
        kind="sql",
        url="sqlite://",
        windows_query="SELECT 'w'",
    )
    read = SqlSource(source, "sqlite://").read("w")
    assert read["id"].tolist() == [9007199254740993, None]
    assert [str(read[name].dtype) for name in ("n", "f")] == ["int64", "float64"]
    assert read["t"].isna().tolist() == [False, True]


def test_an_address_can_come_from_the_environment(tmp_path: Path) -> None:
    """`$NAME` is looked up in the given environment when the source is opened; a missing variable
    is named."""
    shop = use_case(
        tmp_path,
        kind="sql",
        windows=None,
        windows_query="SELECT 'm0'",
        query="SELECT 1 AS x, '{window}' AS w",
        url="$SHOP_DB",
    )
    read = open_source(shop, environ={"SHOP_DB": "sqlite://"}).read("m0")
    assert read.to_dict("list") == {"x": [1], "w": ["m0"]}
    with pytest.raises(SourceError, match="SHOP_DB"):
        open_source(shop, environ={})
    assert "SHOP_DB" not in os.environ


@pytest.mark.parametrize(
    "url",
    ["postgresql+psycopg://u:hunter2@127.0.0.1:1/db", "nonsense", "nodialect://u:hunter2@h/db"],
)
def test_a_database_that_does_not_answer_is_a_source_error(url: str) -> None:
    """Nothing of SQLAlchemy leaks out, and no password does."""
    source = SqlSource(Source(query="q", kind="sql", url=url, windows_query="SELECT 1"), url)
    with pytest.raises(SourceError) as caught:
        source.windows()
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


class Held:
    """A source of frames in memory."""

    def __init__(self, frames: dict[str, pd.DataFrame]) -> None:
        self.frames = frames

    def windows(self) -> tuple[str, ...]:
        return tuple(self.frames)

    def read(self, window: str) -> pd.DataFrame:
        return self.frames[window]


def test_a_chain_continues_where_the_first_source_ends() -> None:
    """Windows of the second source follow those of the first, whatever their names; a name in both
    is read from the first."""
    chain = ChainedSource(
        Held({"z": FRAME, "b": FRAME}), Held({"a": FRAME.head(1), "b": FRAME.head(1)})
    )
    assert chain.windows() == ("z", "b", "a")
    assert [len(chain.read(window)) for window in chain.windows()] == [2, 2, 1]


def test_generated_windows_are_written_once(tmp_path: Path) -> None:
    """A second run writes nothing, a changed window is replaced whole, and no half-written files
    stay behind."""
    shop = use_case(tmp_path)
    assert write_generated(shop, None, {"m0": {"t": FRAME, "u": FRAME}, "m1": {"": FRAME}}) == (
        "m0",
        "m1",
    )
    assert write_generated(shop, None, {"m0": {"t": FRAME, "u": FRAME}, "m1": {"": FRAME}}) == ()
    assert write_generated(
        shop, None, {"m0": {"t": FRAME.head(1), "u": FRAME}, "m1": {"": FRAME}}
    ) == ("m0",)
    assert (tmp_path / "rows" / "m0" / "t.csv").read_bytes() == b"x,y\n1,a\n"
    assert sorted(path.name for path in (tmp_path / "rows").iterdir()) == ["m0", "m1.csv"]


def test_a_folder_that_cannot_be_written_is_a_source_error(tmp_path: Path) -> None:
    """A file where the folder should be is a SourceError, not an OSError."""
    (tmp_path / "rows").write_text("")
    with pytest.raises(SourceError, match="can be written"):
        write_generated(use_case(tmp_path), None, {"m0": {"t": FRAME}})


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, unknown and damaged files each say what to do."""
    FRAME.to_csv(tmp_path / "customers.csv", index=False)
    with pytest.raises(SourceError, match=r"did you mean customers\.csv"):
        read_table(tmp_path / "customer.csv", Source(windows="*"))
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(SourceError, match="convert or rename"):
        read_table(tmp_path / "a.xlsx", Source(windows="*"))
    (tmp_path / "a.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(SourceError, match="fix the file"):
        read_table(tmp_path / "a.parquet", Source(windows="*"))
    with pytest.raises(SourceError, match="a folder"):
        read_table(tmp_path, Source(windows="*"))


@pytest.mark.parametrize("new_rows", [False, True])
def test_rows_without_a_window_are_told(tmp_path: Path, new_rows: bool) -> None:
    """A line of totals names no month: it is in no window, and that is said."""
    (tmp_path / "orders.csv").write_text("id,month,x\na,2026-01,1\nb,2026-02,2\nTotal,,3\n")
    whole = FilesSource(Source(windows="*.csv", window_column="month"), tmp_path)
    source = NewRowsSource(whole, use_case(tmp_path)) if new_rows else whole
    assert source.windows() == ("2026-01", "2026-02")
    assert tell_remarks(source) == ("1 of 3 rows have no month: they are in no window",)
