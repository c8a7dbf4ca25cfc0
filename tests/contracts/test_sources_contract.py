"""What every kind of WindowSource promises: folders, files, a window column, SQL, a chain."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from closedloop.errors import SourceError
from closedloop.use_case.source import Source
from closedloop.windows.files_source import FilesSource
from closedloop.windows.sources import ChainedSource, NoWindows, WindowSource
from closedloop.windows.sql_source import SqlSource

Content = dict[str, pd.DataFrame]
Build = Callable[[Path, Content], WindowSource]

CONTENT: Content = {
    "w2": pd.DataFrame({"id": [1, 2], "x": [0.5, 1.5], "odd name": ["it's", "b"]}),
    "w10": pd.DataFrame({"id": [3, 4], "x": [2.5, 3.5], "odd name": ["c", "d"]}),
    "w9's": pd.DataFrame({"id": [5], "x": [4.5], "odd name": ["e"]}),
}


def folders(root: Path, content: Content) -> WindowSource:
    root.mkdir(exist_ok=True)
    for window, frame in content.items():
        (root / window).mkdir()
        frame.to_csv(root / window / "rows.csv", index=False)
    return FilesSource(
        Source(query="SELECT * FROM read_csv('{root}/{window}/rows.csv')", windows="w*"), root
    )


def single_files(root: Path, content: Content) -> WindowSource:
    root.mkdir(exist_ok=True)
    for window, frame in content.items():
        frame.to_parquet(root / f"{window}.parquet")
    return FilesSource(
        Source(query="SELECT * FROM '{root}/{window}.parquet'", windows="*.parquet"), root
    )


def files_as_they_are(root: Path, content: Content) -> WindowSource:
    root.mkdir(exist_ok=True)
    for window, frame in content.items():
        frame.to_parquet(root / f"{window}.parquet")
    return FilesSource(Source(windows="*.parquet"), root)


def rows_cut_by_a_column(root: Path, content: Content) -> WindowSource:
    root.mkdir(exist_ok=True)
    for window, frame in content.items():
        frame.assign(window=window).to_parquet(root / f"part of {window}.parquet", index=False)
    return FilesSource(Source(windows="*.parquet", window_column="window"), root)


def window_column(root: Path, content: Content) -> WindowSource:
    root.mkdir(exist_ok=True)
    together = (
        pd.concat([frame.assign(window=name) for name, frame in content.items()])
        if content
        else CONTENT["w2"].assign(window=None)
    )
    together.to_parquet(root / "all.parquet", index=False)
    query = "SELECT * EXCLUDE (\"window\") FROM '{root}/all.parquet' WHERE \"window\" = '{window}'"
    return FilesSource(
        Source(query=query, windows_query="SELECT DISTINCT \"window\" FROM '{root}/all.parquet'"),
        root,
    )


def database(root: Path, content: Content) -> WindowSource:
    with sqlite3.connect(root.with_suffix(".db")) as connection:
        connection.execute('CREATE TABLE flowers (id INTEGER, x REAL, "odd name" TEXT, w TEXT)')
        for name, frame in content.items():
            frame.assign(w=name).to_sql("flowers", connection, index=False, if_exists="append")
    connection.close()
    query = (
        'SELECT id, x, "odd name" FROM flowers '
        "WHERE w = '{window}' AND \"odd name\" NOT LIKE '%:none%'"
    )
    source = Source(
        query=query, kind="sql", url="$SOME", windows_query="SELECT DISTINCT w FROM flowers"
    )
    return SqlSource(source, f"sqlite:///{root.with_suffix('.db')}")


def chain(root: Path, content: Content) -> WindowSource:
    first = {name: frame for name, frame in content.items() if name == "w2"}
    rest = {name: frame for name, frame in content.items() if name != "w2"}
    return ChainedSource(folders(root, first), database(root, rest))


BUILDS: list[Build] = [
    folders,
    single_files,
    files_as_they_are,
    rows_cut_by_a_column,
    window_column,
    database,
    chain,
]


@pytest.fixture(params=BUILDS, ids=lambda build: build.__name__)
def build(request: pytest.FixtureRequest) -> Build:
    found: Build = request.param
    return found


def test_windows_are_in_time_order(build: Build, tmp_path: Path) -> None:
    """Numbers in names count as numbers: w2 is before w10, which plain sorting gets wrong."""
    assert build(tmp_path / "root", CONTENT).windows() == ("w2", "w9's", "w10")


def test_a_window_is_read_whole(build: Build, tmp_path: Path) -> None:
    """All rows and columns of the window and no others, with quotes in names and values."""
    source = build(tmp_path / "root", CONTENT)
    for window, frame in CONTENT.items():
        read = source.read(window)
        assert list(read.columns) == list(frame.columns)
        assert read.astype(object).values.tolist() == frame.astype(object).values.tolist()


def test_reading_twice_gives_the_same(build: Build, tmp_path: Path) -> None:
    """Reading changes nothing."""
    source = build(tmp_path / "root", CONTENT)
    pd.testing.assert_frame_equal(source.read("w10"), source.read("w10"))


def test_an_unknown_window_names_near_ones(build: Build, tmp_path: Path) -> None:
    """A mistyped window is refused with the nearest names, and never becomes SQL."""
    source = build(tmp_path / "root", CONTENT)
    with pytest.raises(SourceError, match=r"did you mean .*w10"):
        source.read("w1o")
    with pytest.raises(SourceError, match="windows"):
        source.read("w2' OR '1'='1")


def test_no_windows_say_what_to_do(build: Build, tmp_path: Path) -> None:
    """An empty source is an error of its own kind with advice, not an empty answer."""
    source = build(tmp_path / "root", {})
    with pytest.raises(NoWindows) as caught:
        source.windows()
    assert caught.value.then
    assert caught.value.exit_code == 3
