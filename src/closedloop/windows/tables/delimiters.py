"""Which sign stands between the values of a CSV file."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from closedloop.errors import SourceError
from closedloop.use_case.source import Source
from closedloop.windows.tables.file_text import FileText

DELIMITERS = (",", ";", "\t", "|")
_ANY = "".join(DELIMITERS)
_BEGINNING_BYTES = 2**20
_NAMES = {"\t": "\\t"}  # as in TOML


def read_beginning(path: Path, encoding: str) -> str:
    """The first million bytes as text. Raises SourceError for another encoding."""
    with FileText(path, encoding) as text:
        beginning = text.read(_BEGINNING_BYTES) or b""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(beginning).lstrip("\ufeff")


def find_delimiter(beginning: str, expected: Collection[str] = (), quote: str = '"') -> str:
    """The sign that finds most `expected` columns.

    Of equals, the one that makes the first row a header, then the one with most rows of one width,
    then the one with more values in a row.
    """
    return max(DELIMITERS, key=lambda delimiter: _fit(beginning, delimiter, expected, quote))


def find_quote(beginning: str) -> str:
    """A single quote if it stands around whole values, and double quotes around none."""
    if re.search(rf'(^|[{_ANY}])"', beginning, re.MULTILINE):
        return '"'
    begun = len(re.findall(rf"(?:^|[{_ANY}])'", beginning, re.MULTILINE))
    whole = len(
        re.findall(rf"(?:^|(?<=[{_ANY}]))'[^'\n]*'(?=[{_ANY}\r\n])", beginning, re.MULTILINE)
    )
    return "'" if whole and whole >= 0.9 * begun else '"'


def _fit(
    beginning: str, delimiter: str, expected: Collection[str], quote: str
) -> tuple[int, bool, bool, float, int]:
    rows = _rows(beginning, delimiter, quote)
    if not rows:
        return 0, False, False, 0.0, 0
    known = len({name.strip() for name in rows[0]} & set(expected))
    width, number = Counter(map(len, rows)).most_common(1)[0]
    if width == 1 and len(rows[0]) == 1:
        return known, False, False, 0.0, 0
    header = next((row for row in rows if len(row) == width), rows[0])
    named = not any(_is_number(name) for name in header)
    return known, len(rows[0]) == width, named, round(number / len(rows), 1), width


def _rows(beginning: str, delimiter: str, quote: str) -> list[list[str]]:
    """Rows that are not empty, without the last, which may be cut off."""
    reader = csv.reader(
        io.StringIO(beginning, newline=""),
        delimiter=delimiter,
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
    )
    rows: list[list[str]] = []
    with suppress(csv.Error):  # a value of more than 131,072 characters
        rows.extend(row for row in reader if row)
    return rows[:-1] or rows


def _is_number(text: str) -> bool:
    return text.strip().replace(".", "").replace(",", "").lstrip("-").isdecimal()


def refuse_another_delimiter(path: Path, source: Source) -> None:
    """Raise SourceError when `source.delimiter` is nowhere in the header, and another one is."""
    beginning = read_beginning(path, source.encoding)
    rows = _rows(beginning, source.delimiter, source.quote)
    if not rows or len(rows[0]) > 1:
        return
    found = find_delimiter(beginning, quote=source.quote)
    if found == source.delimiter or len(_rows(beginning, found, source.quote)[0]) < 2:
        return
    raise SourceError(
        where=str(path),
        wanted=f"values separated by {source.delimiter!r}",
        got=f"values separated by {found!r}",
        then=f'set delimiter = "{_NAMES.get(found, found)}" under [source]',
    )
