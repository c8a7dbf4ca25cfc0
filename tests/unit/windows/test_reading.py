"""Every row of a CSV file is read, or the line that is no row is named."""

from __future__ import annotations

import csv
import gzip
import io
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.errors import SourceError
from closedloop.use_case.source import Source
from closedloop.windows.tables.chunks import open_table, read_table
from closedloop.windows.tables.delimiters import find_delimiter

PLAIN = Source(windows="*")


def write(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows_of(path: Path, source: Source = PLAIN) -> list[list[str]]:
    frame = read_table(path, source)
    values = frame.astype(object).where(frame.notna(), None)
    return [list(frame.columns), *values.to_numpy().tolist()]


WHOLE = {
    "a line break and doubled quotes in a value": (
        'a,b\n1,"x, ""y""\r\nz"\n3,4\n',
        [["1", 'x, "y"\r\nz'], ["3", "4"]],
    ),
    "the first quoted value far behind": (
        "a,b\n" + "1,2\n" * 30_000 + '3,"4,5"\n',
        [["1", "2"]] * 30_000 + [["3", "4,5"]],
    ),
    "CR CR LF": ("a,b\r\r\n1,2\r\r\n3,4\r\r\n", [["1", "2"], ["3", "4"]]),
    "CR": ("a,b\r1,2\r3,4", [["1", "2"], ["3", "4"]]),
    "a byte order mark": ('\ufeff"a",b\r\n1,2\r\n', [["1", "2"]]),
    "empty lines": ("\n\na,b\n\n1,2\n\n3,4\n\n", [["1", "2"], ["3", "4"]]),
    "quotes inside values": ('a,b\n1,5" pipe\n2,"x"y\n', [["1", '5" pipe'], ["2", "xy"]]),
    "empty values": ('a,b\n,""\n', [[None, None]]),
}


@pytest.mark.parametrize("name", WHOLE)
def test_all_rows_are_read(tmp_path: Path, name: str) -> None:
    """RFC 4180, and what exports add to it: not a row less, not a row more."""
    content, rows = WHOLE[name]
    assert rows_of(write(tmp_path, content)) == [["a", "b"], *rows]


FAULTY = {
    "a comma without quotes": (
        "a,b,c\n1,2,3\n4,5,6\n7,8,9,5\n",
        "line 4 has 4 values, the header 3: quote the value that holds ','",
    ),
    "wider from a row on": (
        "a,b\n" + "1,2\n" * 300 + "1,2,gift\n" * 1500,
        r"line 302 has 3 values, the header 2 \(1,500 such lines\): .*add a name to the header",
    ),
    "a short row": ("a,b,c\n1,2,3\n4,5\n", "line 3 has 2 values, the header 3: complete"),
    "a total": ("a,b\n1,2\nTotal\n", "line 3 has 1 value, the header 2: .*if it is a total"),
    "a line of blanks": ("a,b\n1,2\n   \n3,4\n", "line 3 has 1 value, the header 2"),
    "a header with a comma too many": (
        "a,b,\n1,2\n3,4\n",
        r"line 2 has 2 values, the header 3 \(2 such lines\): remove the ',' at the end of line 1",
    ),
    "a title": (
        "Orders of 2026\n\na,b\n1,2\n",
        "line 3 has 2 values, the header 1.*: if line 1 is a title, remove what stands above",
    ),
    "a header without the row names": (
        "a,b\nr1,1,2\nr2,3,4\n",
        "line 2 has 3 values, the header 2.*if it holds the names, add the one that is missing",
    ),
    "after a line break in a value": (
        'a,b\n1,"two\nlines"\n\n3,4,5\n',
        "line 5 has 3 values, the header 2",
    ),
    "quotes behind backslashes": (
        'a,b\n1,"x \\"y\\", z"\n2,3\n',
        "line 2 has 3 values, the header 2",
    ),
    "after CR LF": ("a,b\r\n1,2\r\n3,4,5\r\n", "line 3 has 3 values, the header 2"),
    "a quote that is never closed": (
        'a,b\n1,2\n3,"x\n4,5\n6,7\n',
        "a quote that is never closed in line 3: close or remove the quote",
    ),
    "a quote in the last row": ('a,b\n1,2\n3,"x', "a quote that is never closed in line 3"),
    "two stray quotes": (
        'a,b\n1,2\n3,"x\n4,"y\n6,7\n',
        "a quote that is closed in the middle of a value in line 3",
    ),
    "a row longer than a block": (
        "a,b\n1,2\n3," + "x" * 3_000_000 + "\n",
        "a row of more than a million characters in line 3",
    ),
    "a nul byte": ("a,b\n1,2\n3,\0\n", "got a nul byte in line 3"),
    "no line at all": ("", "got Empty CSV file"),
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", FAULTY)
def test_a_line_that_is_no_row_is_named(tmp_path: Path, name: str, compressed: bool) -> None:
    """Line of the file, wanted and got; never fewer rows without a word."""
    content, said = FAULTY[name]
    packed = gzip.compress(content.encode()) if compressed else content
    with pytest.raises(SourceError, match=said):
        rows_of(write(tmp_path, packed, "t.csv.gz" if compressed else "t.csv"))


def test_a_joined_row_is_named_in_chunks_too(tmp_path: Path) -> None:
    """The last chunk is not the end: a quote left open is told after it."""
    path = write(tmp_path, "a,b\n" + "1,2\n" * 5000 + '3,"x\n4,5\n')
    chunks = open_table(path, PLAIN).chunks(["a"], ["a"], rows=1000)
    with pytest.raises(SourceError, match="never closed in line 5002"):
        list(chunks)


@pytest.mark.parametrize("found", [";", "\t", "|"])
def test_another_delimiter_is_named(tmp_path: Path, found: str) -> None:
    """The setting to write is in the message; one column of that name is never invented."""
    path = write(tmp_path, f"a{found}b\n1,5{found}2,5\n")
    written = "\\t" if found == "\t" else found
    with pytest.raises(SourceError, match=re.escape(f'set delimiter = "{written}" under [source]')):
        rows_of(path)
    assert rows_of(path, Source(windows="*", delimiter=found)) == [["a", "b"], ["1,5", "2,5"]]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("id;text;y\n" + "1;hello, you, and me;a\n" * 30, ";"),
        ("id\tx\ty\n" + "1\t0,5\ta, b\n" * 30, "\t"),
        ("id|t\n" + "1|a;b,c\n" * 30, "|"),
        ("id;x\n" + "1;1.100,50 €\n" * 30, ";"),
        ("Sales\n\nid;x;y\n" + "1;0,5;1,5\n" * 30, ";"),
        ("id,note\n" + '1,"a;b;c"\n' * 30, ","),
        ("x\n1\n2\n", ","),
    ],
)
def test_the_delimiter_is_found(text: str, found: str) -> None:
    """The header tells it: other signs may stand in every row."""
    assert find_delimiter(text) == found


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.tuples(TEXT, TEXT), max_size=6),
    delimiter=st.sampled_from(",;\t|"),
    quote=st.sampled_from("\"'"),
    ending=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_python_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str]],
    delimiter: str,
    quote: str,
    ending: str,
    encoding: str,
) -> None:
    """Any text in any dialect."""
    written = io.StringIO(newline="")
    writer = csv.writer(
        written,
        delimiter=delimiter,
        quotechar=quote,
        lineterminator=ending,
        quoting=csv.QUOTE_ALL,
    )
    writer.writerows([("first", "second"), *rows])
    path = write(tmp_path_factory.mktemp("t"), written.getvalue().encode(encoding))
    source = Source(
        windows="*",
        delimiter=delimiter,
        quote=quote,
        encoding=encoding.removesuffix("-sig"),
    )
    found = rows_of(path, source)
    assert found == [
        ["first", "second"],
        *([first or None, second or None] for first, second in rows),
    ]
