"""Files in any encoding are read as loop.toml says, or the encoding is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from closedloop.errors import SourceError
from closedloop.use_case.source import Source
from closedloop.windows.tables.chunks import open_table, read_table
from closedloop.windows.tables.file_text import find_encoding

TEXT = "city,size\nKöln,Größe 3\nZürich,Größe 4\n"
EURO = "city,size\nKöln,3 €\n"
GREEK = "city,size\nΑθήνα,3\nΠάτρα,4\n"


@pytest.mark.parametrize(
    ("text", "written", "found"),
    [
        ("a,b\n1,2\n", "ascii", "utf-8"),
        (TEXT, "utf-8", "utf-8"),
        (TEXT, "utf-8-sig", "utf-8"),
        (TEXT, "latin-1", "latin-1"),
        (EURO, "cp1252", "cp1252"),
        (TEXT, "utf-16", "utf-16"),
        (TEXT, "utf-16-le", "utf-16-le"),
        (TEXT, "utf-16-be", "utf-16-be"),
        (TEXT, "utf-32", "utf-32"),
        (GREEK, "iso8859-7", ""),
        (TEXT, "cp850", ""),
    ],
)
def test_an_encoding_is_found(tmp_path: Path, text: str, written: str, found: str) -> None:
    """What was found reads the text; what is not sure has no name."""
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(written))
    assert find_encoding(path).name == found
    source = Source(windows="*", encoding=found or written)
    assert read_table(path, source).iloc[0, 0] == text.splitlines()[1].split(",")[0]


@pytest.mark.parametrize(
    ("content", "wanted", "got", "then"),
    [
        (
            TEXT.encode("latin-1"),
            "utf-8",
            "not UTF-8, looks like latin-1 (first in line 2)",
            'set encoding = "latin-1" under [source]',
        ),
        (
            EURO.encode("cp1252"),
            "utf-8",
            "not UTF-8, looks like cp1252 (first in line 2)",
            'set encoding = "cp1252" under [source]',
        ),
        (
            TEXT.encode("utf-16"),
            "utf-8",
            "not UTF-8, looks like utf-16",
            'set encoding = "utf-16" under [source]',
        ),
        (
            TEXT.encode("utf-16-le"),
            "utf-8",
            "not UTF-8, looks like utf-16-le",
            'set encoding = "utf-16-le" under [source]',
        ),
        (TEXT.encode(), "latin-1", "UTF-8", "remove encoding from [source]"),
        (TEXT.encode("utf-8-sig"), "cp1252", "UTF-8", "remove encoding from [source]"),
        (TEXT.encode(), "utf-16", "UTF-8", "remove encoding from [source]"),
        (TEXT.encode("utf-16"), "latin-1", "not UTF-8, looks like utf-16", "utf-16"),
        (
            TEXT.encode() + "Köln,5\n".encode("latin-1"),
            "utf-8",
            "UTF-8 with other bytes in some lines (first in line 4)",
            "correct the lines that are not",
        ),
        (
            GREEK.encode("iso8859-7"),
            "utf-8",
            "not UTF-8, and not latin-1 either (first in line 2)",
            "name its encoding under [source]",
        ),
        (
            "grö,b\n1,2\n".encode("latin-1"),
            "utf-8",
            "not UTF-8, looks like latin-1 (first in line 1)",
            'set encoding = "latin-1" under [source]',
        ),
        (
            TEXT[:-2].encode() + b"\xc3",
            "utf-8",
            "UTF-8 with other bytes in some lines (first in line 3)",
            "correct the lines",
        ),
    ],
)
def test_another_encoding_is_named(
    tmp_path: Path, content: bytes, wanted: str, got: str, then: str
) -> None:
    """With the line and the setting; no letter is ever read as another one."""
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        read_table(path, Source(windows="*", encoding=wanted))
    assert (caught.value.wanted, caught.value.got) == (f"text in {wanted}", got)
    assert then in caught.value.then


@pytest.mark.parametrize("written", ["latin-1", "utf-16"])
def test_a_model_with_a_query_finds_the_encoding(tmp_path: Path, written: str) -> None:
    """SQL says nothing about the file that `predict` is given."""
    path = tmp_path / "t.csv"
    path.write_bytes("größe;stadt\n3;Köln\n".encode(written))
    reader = open_table(path, Source(query="q", windows="*"), ["größe", "stadt"])
    assert next(reader.chunks(["größe", "stadt"], ["größe"])).frame.to_dict("list") == {
        "größe": [3.0],
        "stadt": ["Köln"],
    }
