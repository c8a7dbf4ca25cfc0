"""The names of columns are the same for init, monitor and predict, or they are refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from closedloop.errors import SourceError
from closedloop.use_case.source import Source
from closedloop.windows.tables.chunks import ChunkReader, open_table, read_table
from closedloop.windows.tables.dialect import find_table_source

PLAIN = Source(windows="*")


def write(folder: Path, names: list[str], kind: str) -> Path:
    """A table with a row of 1, 2, 3, ..."""
    path, row = folder / f"t.{kind}", [str(place + 1) for place in range(len(names))]
    if kind == "csv":
        path.write_text(f"{','.join(names)}\n{','.join(row)}\n", encoding="utf-8")
    else:
        table = pa.Table.from_arrays([pa.array([value]) for value in row], names=names)
        pyarrow.parquet.write_table(table, path)
    return path


def values_of(reader: ChunkReader, columns: list[str]) -> list[str]:
    frame: pd.DataFrame = next(reader.chunks(columns, [])).frame
    return [frame[name][0] for name in columns]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a", "b", "a"], "columns 1 and 3 named 'a' and 'a', the same twice"),
        (
            ["Amount", "b", "amount"],
            "columns 1 and 3 named 'Amount' and 'amount', the same but for",
        ),
        (["a", "b", " a "], "columns 1 and 3 named 'a' and 'a', the same twice"),
        (["STRASSE", "straße"], "columns 1 and 2 named 'STRASSE' and 'straße'"),
    ],
)
def test_names_alike_are_refused(tmp_path: Path, kind: str, names: list[str], said: str) -> None:
    """With both names, by every reader: no column is invented for the second one."""
    path = write(tmp_path, names, kind)
    for read in (
        lambda: read_table(path, PLAIN),
        lambda: open_table(path, PLAIN, ["b"]),
        lambda: find_table_source(path, PLAIN, {}, []),
    ):
        with pytest.raises(SourceError, match=said):
            read()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("name", [" tenure ", "\u00a0tenure", "tenure\u202f", "\ufefftenure\t"])
def test_blanks_around_a_name_are_no_part_of_it(tmp_path: Path, kind: str, name: str) -> None:
    """The name in loop.toml, in the API and in every window is the stripped one."""
    path = write(tmp_path, ["a", name], kind)
    assert list(read_table(path, PLAIN).columns) == ["a", "tenure"]
    assert values_of(open_table(path, PLAIN, ["tenure"]), ["tenure"]) == ["2"]
    assert list(find_table_source(path, PLAIN, {}, []).frame.columns) == ["a", "tenure"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_query_keeps_its_names(tmp_path: Path, kind: str) -> None:
    """What DuckDB calls a column is asked for as it stands in the file."""
    path = write(tmp_path, [" tenure ", "a", "A"], kind)
    reader = open_table(path, Source(query="q", windows="*"), [" tenure ", "a"])
    assert values_of(reader, [" tenure ", "a"]) == ["1", "2"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("nameless", ["", "  "])
def test_a_nameless_column_gets_no_name(tmp_path: Path, kind: str, nameless: str) -> None:
    """It is left out everywhere, several of them too; `init` says where they are."""
    path = write(tmp_path, [nameless, "a", nameless, "b"], kind)
    assert list(read_table(path, PLAIN).columns) == ["a", "b"]
    assert values_of(open_table(path, PLAIN, ["b"]), ["b"]) == ["4"]
    found = find_table_source(path, PLAIN, {}, [])
    assert list(found.frame.columns) == ["a", "b"]
    for place, note in zip((1, 3), found.notes[-2:], strict=True):
        assert note.startswith(f"left out: column {place} has no name in the header")
