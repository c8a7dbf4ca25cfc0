"""What is wrong with a CSV file that cannot be read: the line, what was wanted, what is there."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from closedloop.errors import SourceError
from closedloop.use_case.source import Source
from closedloop.windows.tables.file_text import FileText

_MOST_CHARACTERS = 2**20  # of one row


@dataclass(frozen=True)
class _Row:
    line: int
    """Where it begins, from 1."""
    values: list[str]
    fault: str = ""
    """Why it is no row."""


@dataclass
class _Lines:
    """Hands lines to csv.reader and counts them."""

    text: io.TextIOWrapper
    feeds: int = 0
    returns: int = 0
    ended: bool = False
    taken: int = 0
    last: str = ""
    characters: int = 0

    def __iter__(self) -> Iterator[str]:
        for line in self.text:
            self.feeds += line.endswith("\n")
            self.returns += line.endswith("\r")
            self.taken, self.characters = self.taken + 1, self.characters + len(line)
            self.last = line
            if self.characters > _MOST_CHARACTERS:
                raise csv.Error("too long")
            yield line
        self.ended = True

    @property
    def next_line(self) -> int:
        return (self.feeds or self.returns) + 1


def find_fault(path: Path, source: Source) -> SourceError | None:
    """The first row that has not as many values as the header, or a quote left open.

    None when every row is well formed.
    """
    header: _Row | None = None
    wrong, right = list[_Row](), 0
    for row in _rows(path, source):
        if row.fault:
            return SourceError(
                where=str(path),
                wanted="quotes that are closed where their value ends",
                got=f"{row.fault} in line {row.line}",
                then=_quotes(source),
            )
        if header is None:
            header = row
        elif len(row.values) != len(header.values):
            wrong.append(row if not wrong else _Row(row.line, []))
        else:
            right += 1
    if header is None or not wrong:
        return None
    return _refuse_width(path, source, header, wrong, right)


def _rows(path: Path, source: Source) -> Iterator[_Row]:
    """Rows that are not empty. A row in one line may have quotes anywhere; one of several lines
    must be as RFC 4180 has it: otherwise it is rows that a stray quote has joined."""
    text = io.TextIOWrapper(
        io.BufferedReader(FileText(path, source.encoding, source.quote)),
        encoding="utf-8-sig",
        newline="",
    )
    counted = _Lines(text)
    parse = partial(
        csv.reader,
        delimiter=source.delimiter,
        quotechar=source.quote or None,
        quoting=csv.QUOTE_MINIMAL if source.quote else csv.QUOTE_NONE,
    )
    reader = parse(iter(counted), strict=True)
    before = csv.field_size_limit(sys.maxsize)
    try:
        while True:
            line, counted.taken, counted.characters = counted.next_line, 0, 0
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if str(error) == "too long":
                    yield _Row(line, [], "a row of more than a million characters")
                    return
                if counted.ended:
                    yield _Row(line, [], "a quote that is never closed")
                    return
                if counted.taken > 1:
                    yield _Row(line, [], "a quote that is closed in the middle of a value")
                    return
                values = next(parse([counted.last]))  # Arrow, too, reads "a"b as ab
            if values:
                yield _Row(line, values)
    finally:
        csv.field_size_limit(before)
        text.close()


def _quotes(source: Source) -> str:
    return (
        f"close or remove the quote; if {source.quote} is no quote in this file, "
        'set quote = "" under [source]'
    )


def _refuse_width(
    path: Path, source: Source, header: _Row, wrong: list[_Row], right: int
) -> SourceError:
    line, found, wanted = wrong[0].line, len(wrong[0].values), len(header.values)
    number = f"line {line} has {found} value{'s' if found != 1 else ''}"
    got = f"{number}, the header {wanted}"
    if len(wrong) > 1:
        got += f" ({len(wrong):,} such lines)"
    if found > wanted and not right:
        then = (
            f"if line {header.line} is a title, remove what stands above the names of the columns"
        )
        if wanted > 1:
            then += "; if it holds the names, add the one that is missing"
    elif found > wanted:
        then = f"quote the value that holds {source.delimiter!r}, or add a name to the header"
    elif not right and not header.values[-1].strip():
        then = f"remove the {source.delimiter!r} at the end of line {header.line}"
    else:
        then = "complete the line, or remove it if it is a total or a note"
    return _refuse(path, got, then)


def _refuse(path: Path, got: str, then: str) -> SourceError:
    return SourceError(
        where=str(path), wanted="as many values in every line as in the header", got=got, then=then
    )
