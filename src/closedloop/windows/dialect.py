"""How a file that nobody has described yet is written: what `closedloop init` finds out, once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from closedloop.errors import SourceError
from closedloop.use_case.source import Source
from closedloop.windows.chunks import open_table, read_all
from closedloop.windows.delimiters import find_delimiter, find_quote, read_beginning
from closedloop.windows.file_text import find_encoding
from closedloop.windows.number_signs import SPACES, fits, plain_numbers
from closedloop.windows.table_file import find_table

if TYPE_CHECKING:
    import pandas as pd

_WORD = re.compile(r"\w*[^\x00-\x7f]\w*")
_NEARLY_ALL = 0.99
_MOST = 0.9


@dataclass(frozen=True)
class FoundTable:
    """The rows, the settings that read them, and what a person should know about both."""

    frame: pd.DataFrame
    source: Source
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Signs:
    """Which signs the numbers of one column fit, of those that have any."""

    point: bool
    comma: bool
    comma_and_points: bool
    between: str
    """A sign between thousands, if there is any."""
    no_point: str
    no_comma: str
    """A value that does not fit."""
    example: str


def find_table_source(
    path: Path,
    source: Source,
    given: Mapping[str, Any],
    named: Sequence[str],
) -> FoundTable:
    """Read a table with what is `given` of the settings; the others are found.

    `named` are columns that the table should have and whose values stay as they are. Raises
    SourceError when the table cannot be read.
    """
    source = replace(source, **given)
    if find_table(path) == ".parquet":
        reader = open_table(path, source)
        return FoundTable(read_all(reader), source, _nameless(reader.nameless))
    found_in_text: dict[str, Any] = _find_signs_of_text(path, given, named)
    source = replace(source, **found_in_text)
    reader = open_table(path, source)
    frame = read_all(reader)
    columns = {
        str(name): pa.array(frame[name], pa.string(), from_pandas=True)
        for name in frame.columns
        if name not in named
    }
    signs = {name: found for name, texts in columns.items() if (found := _look_at(texts))}
    source = replace(source, **_choose(signs, given, source.delimiter))
    notes = [_describe(source), *_show_letters(frame, source, given), *_nameless(reader.nameless)]
    for name, found in signs.items():
        if _fit(found, source):
            plain = plain_numbers(columns[name], source.decimal, source.thousands)
            frame[name] = plain.to_pandas()
            notes += _doubt(name, found, source, signs)
        else:
            frame = frame.drop(columns=[name])
            notes.append(
                f"left out: {name} has numbers such as "
                f"{found.no_point if source.decimal == '.' else found.no_comma}, in a file whose "
                f"decimal sign is {source.decimal}"
            )
    return FoundTable(frame, source, tuple(notes))


def _find_signs_of_text(
    path: Path, given: Mapping[str, Any], named: Sequence[str]
) -> dict[str, str]:
    encoding = given.get("encoding")
    if encoding is None:
        found = find_encoding(path)
        if not found.name:
            got = "UTF-8 with other bytes" if found.mixed else "not UTF-8, and not latin-1 either"
            raise SourceError(
                where=str(path),
                wanted="text in a known encoding",
                got=f"{got} (first in line {found.line})",
                then="correct the line"
                if found.mixed
                else "name it, such as --encoding cp1251, or save the file as UTF-8",
            )
        encoding = found.name
    beginning = read_beginning(path, encoding)
    quote = given.get("quote")
    if quote is None:
        quote = find_quote(beginning)
    delimiter = given.get("delimiter") or find_delimiter(beginning, named, quote)
    return {"encoding": encoding, "quote": quote, "delimiter": delimiter}


def _look_at(texts: Any) -> _Signs | None:
    """None for a column that is not numeric, or whose numbers have no signs."""
    values = pc.unique(texts).drop_null()
    values = values.filter(pc.match_substring_regex(values, r"\d"))
    signed = values.filter(pc.match_substring_regex(values, "[.,]"))
    if not len(signed):
        return None
    # Thousands with points include all that a decimal comma alone allows.
    point, comma, grouped = (
        fits(values, decimal, thousands)
        for decimal, thousands in ((".", ""), (",", ""), (",", "."))
    )
    if _share(pc.or_(point, grouped)) < _MOST:
        return None
    return _Signs(
        point=_share(point) >= _NEARLY_ALL,
        comma=_share(comma) >= _NEARLY_ALL,
        comma_and_points=_share(grouped) >= _NEARLY_ALL,
        between=_find_thousands(values, "." if _share(point) >= _NEARLY_ALL else ","),
        no_point=_first(values.filter(pc.invert(point))),
        no_comma=_first(values.filter(pc.invert(comma))),
        example=_first(signed),
    )


def _first(values: Any) -> str:
    return str(values[0].as_py()) if len(values) else ""


def _find_thousands(values: Any, decimal: str) -> str:
    other = (",", ",") if decimal == "." else (".", r"\.")
    signs = dict([other, (" ", f"[{SPACES}]"), ("'", "['’]")])
    return next(
        (
            sign
            for sign, written in signs.items()
            if pc.any(pc.match_substring_regex(values, rf"\d{written}\d{{3}}([^\d]|$)")).as_py()
        ),
        "",
    )


def _share(true: Any) -> float:
    return float(pc.mean(true.cast(pa.float64())).as_py())


def _choose(
    signs: Mapping[str, _Signs], given: Mapping[str, Any], delimiter: str
) -> dict[str, Any]:
    """The signs that most columns fit. Of equals a point, but a comma beside another delimiter:
    that is written where commas stand in numbers."""
    commas = sum(not found.point and found.comma_and_points for found in signs.values())
    points = sum(found.point and not found.comma_and_points for found in signs.values())
    decimal = given.get("decimal") or (
        "," if commas + (delimiter != "," and commas > 0) > points else "."
    )
    if given.get("thousands") is not None:
        return {"decimal": decimal, "thousands": given["thousands"]}
    between = [found.between for found in signs.values() if found.between not in ("", decimal)]
    if decimal == "," and any(
        found.comma_and_points and not found.comma for found in signs.values()
    ):
        between.insert(0, ".")
    return {"decimal": decimal, "thousands": between[0] if between else ""}


def _fit(found: _Signs, source: Source) -> bool:
    if source.decimal == ".":
        return found.point
    return found.comma_and_points if source.thousands == "." else found.comma


def _doubt(
    name: str, found: _Signs, source: Source, signs: Mapping[str, _Signs]
) -> tuple[str, ...]:
    """A word about 1,234, which may be 1234 or a little more than 1."""
    if (
        source.decimal == "."
        and found.comma
        and not any(other.point and not other.comma for other in signs.values())
    ):
        return (
            f"{name}: a comma as in {found.example} is taken for thousands; if it is the decimal "
            'sign, add --decimal ","',
        )
    if source.decimal == "," and not found.comma and found.point:
        return (
            f"{name}: a point as in {found.example} is taken for thousands; if it is the decimal "
            "sign, correct the file",
        )
    return ()


def _nameless(places: Sequence[int]) -> tuple[str, ...]:
    return tuple(
        f"left out: column {place} has no name in the header: the index of a frame or the number "
        "of a row, it seems"
        for place in places
    )


def _show_letters(frame: pd.DataFrame, source: Source, given: Mapping[str, Any]) -> tuple[str, ...]:
    """A word that another encoding of one byte a letter would read differently."""
    if source.encoding not in ("latin-1", "cp1252") or "encoding" in given:
        return ()
    texts = [
        *map(str, frame.columns),
        *(text for name in frame for text in _beyond_ascii(frame[name])),
    ]
    word = next((found[0] for text in texts if (found := _WORD.search(text))), None)
    if word is None:
        return ()
    return (f"{source.encoding} reads {word!r}; if that is wrong, add --encoding NAME",)


def _beyond_ascii(column: pd.Series[Any]) -> list[Any]:
    texts = pa.array(column, pa.string(), from_pandas=True)
    return list(texts.filter(pc.match_substring_regex(texts, r"[^\x00-\x7f]"))[:1].to_pylist())


def _describe(source: Source) -> str:
    names = {"\t": "tab", ",": "comma", ".": "point", " ": "blank", "'": "'"}
    said = [
        f"{names.get(source.delimiter, source.delimiter)} between values",
        f"decimal {names[source.decimal]}",
        *([f"{names[source.thousands]} between thousands"] if source.thousands else []),
        source.encoding,
        *([f"quotes {source.quote or 'none'}"] if source.quote != '"' else []),
    ]
    return f"read as: {', '.join(said)}"
