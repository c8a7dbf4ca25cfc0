"""Names of windows and queries that are more than they seem: patterns, quotes, paths, commands."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from closedloop.errors import SourceError
from closedloop.use_case.source import Source
from closedloop.windows.files_source import FilesSource
from closedloop.windows.query_text import fill_query
from closedloop.windows.sql_source import SqlSource
from closedloop.windows.tables.query_files import query_files

READ = "SELECT * FROM read_csv('{root}/{window}.csv')"


def write(path: Path, value: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"x\n{value}\n")


@pytest.mark.parametrize(
    ("name", "others"),
    [("w[1]", ["w1"]), ("2026-0?", ["2026-01", "2026-02"]), ("*", ["a", "b"]), ("a]b", ["ab"])],
)
@pytest.mark.parametrize(
    "query", [READ, READ.replace("'", '"').replace("read_csv(", "").rstrip(")")]
)
def test_a_name_that_is_a_pattern_reads_its_own_file(
    tmp_path: Path, name: str, others: list[str], query: str
) -> None:
    """In the name of a window and in that of a folder above it."""
    for other in others:
        write(tmp_path / "[d]" / f"{other}.csv", "theirs")
        write(tmp_path / "d" / f"{name}.csv", "of another folder")
    write(tmp_path / "[d]" / f"{name}.csv", "its own")
    source = FilesSource(Source(query=query, windows="*.csv"), tmp_path / "[d]")
    assert source.read(name)["x"].tolist() == ["its own"]


def test_a_window_is_a_value_outside_paths() -> None:
    """Only a quoted text with the root is a path."""
    query = "SELECT '{window}' AS w, \"{window}\" FROM '{root}/{window}.csv' -- {window}"
    filled = fill_query(query, {"root": "/d", "window": 'it\'s "[1]"\n'})
    assert filled == (
        'SELECT \'it\'\'s "[1]"\n\' AS w, "it\'s ""[1]""\n" FROM \'/d/it\'\'s "[[]1]"\n.csv\'  '
    )


@pytest.mark.parametrize(
    ("query", "window", "backslash_escapes"),
    [
        ("SELECT * FROM t WHERE month = {window}", "1 OR 1 = 1", False),
        ("SELECT * FROM t WHERE month = {window}", "1--", False),
        ("SELECT * FROM t WHERE month = -{window}", "-5", False),
        ("SELECT * FROM t WHERE month = {window}", "month", False),
        ("SELECT * FROM t WHERE month IS NOT {window}", "false", False),
        ("SELECT * FROM t WHERE month IS NOT DISTINCT FROM {window}", "month", False),
        ("SELECT * FROM {window}", "t, secrets", False),
        ("SELECT * FROM t WHERE month = '{window}'", "\\' OR 1 = 1 -- ", True),
        ("SELECT * FROM t WHERE month = '{window}'", "a\0b", False),
    ],
)
def test_a_name_never_becomes_sql(query: str, window: str, backslash_escapes: bool) -> None:
    """Without quotes around it only a number may stand there, or a word that is a table."""
    with pytest.raises(SourceError, match=r"query in \[source\], \{window\}: wanted .*, got"):
        fill_query(query, {"window": window}, backslash_escapes=backslash_escapes)
    assert "202601" in fill_query(query, {"window": "202601"})


@pytest.mark.parametrize(
    "query",
    ["select * from\n{window}", "TABLE sales_{window}", "SELECT 1 JOIN s.{window} USING (k)"],
)
def test_a_word_may_name_a_table(query: str) -> None:
    """After FROM or JOIN, in a schema, or as the end of a longer name."""
    assert fill_query(query, {"window": "jan"}) == query.replace("{window}", "jan")


def test_a_query_over_files_reads_below_its_folder_only(tmp_path: Path) -> None:
    """Neither other files nor the network are read, nothing is written, no setting is changed."""
    root, other, aim = tmp_path / "rows", tmp_path / "secret.csv", tmp_path / "rows" / "new.csv"
    write(root / "a.csv", "1")
    write(other, "secret")
    (root / "linked.csv").symlink_to(other)
    assert query_files("FROM '{root}/linked.csv'", root, "w")["x"].tolist() == ["secret"]
    (root / "linked.csv").unlink()
    for query in (
        f"FROM '{other}'",
        "FROM '{root}/../secret.csv'",
        f"SELECT * FROM read_text('{other}')",
        f"SELECT * FROM glob('{tmp_path}/*')",
        f"SELECT * FROM sniff_csv('{other}')",
        "FROM 'http://127.0.0.1:9/a.csv'",
        f"COPY (SELECT 1) TO '{aim}'",
        f"ATTACH '{aim}'",
        f"SELECT 1; COPY (SELECT 1) TO '{aim}'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '1GB'",
        "CREATE TABLE t AS SELECT 1",
        "",
    ):
        with pytest.raises(SourceError, match=r"^w in .*rows: "):
            query_files(query, root, "w")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.csv", "rows", "secret.csv"]


def test_a_query_of_a_database_only_reads(tmp_path: Path) -> None:
    """On SQLite a written row would be there before the query fails."""
    file = tmp_path / "shop.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE t (x)")
    source = Source(kind="sql", url="u", windows_query="SELECT 'w'", query="q")
    with pytest.raises(SourceError, match="readonly"):
        SqlSource(source, f"sqlite:///{file}").ask("INSERT INTO t VALUES (1) RETURNING x", "query")


@pytest.mark.parametrize("pattern", ["../*.csv", "/etc/*", "a/../../b*", "x**/*.csv"])
def test_a_pattern_stays_below_the_root(pattern: str) -> None:
    """It is refused where it is written, not read as something else."""
    with pytest.raises(ValueError, match="windows must be a pattern of names below root"):
        Source(windows=pattern)
