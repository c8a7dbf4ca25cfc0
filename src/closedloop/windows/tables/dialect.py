"""How a file that nobody has described yet is written: what `closedloop init` finds out, once."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from closedloop.errors import SourceError
from closedloop.use_case.source import Source
from closedloop.windows.tables.delimiters import find_delimiter, find_quote, read_beginning
from closedloop.windows.tables.file_text import find_encoding
from closedloop.windows.tables.number_signs import SPACES, fits, plain_numbers
from closedloop.windows.tables.sampled_files import SampledFiles, sample_files
from closedloop.windows.tables.table_file import find_table

_WORD = re.compile(r"\w*[^\x00-\x7f]\w*")
_NEARLY_ALL = 0.99
_MOST = 0.9


@dataclass(frozen=True)
class FoundTable:
    """The rows, the settings that read them, and what a person should know about both.

    `frame` has all rows of the files `read`, or a sample of them.
    """

    frame: pd.DataFrame
    source: Source
    read: SampledFiles
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
    older: Sequence[Path] = (),
    *,
    most_rows: float = math.inf,
    most_looked_at: float = math.inf,
    whole: str | None = None,
) -> FoundTable:
    """Read a table with what is `given` of the settings; the others are found.

    `named` are columns that the table should have and whose values stay as they are. `older` are
    files like it, oldest first, of which the newest are read too until there are `most_rows`. Of
    more rows than `most_looked_at` a sample is kept, and all values of the column `whole`. Raises
    SourceError when a file cannot be read, or has other signs in its numbers.
    """
    source = replace(source, **given)
    source = replace(source, **find_signs_of_text(path, given, named))
    read = sample_files(
        path,
        older,
        source,
        most_rows=most_rows,
        most_looked_at=most_looked_at,
        whole=whole,
    )
    frames = read.frames
    frame = pd.concat(frames.values(), ignore_index=True) if len(frames) > 1 else frames[path]
    if find_table(path) == ".parquet":
        return FoundTable(frame, source, read, _nameless(read.nameless))
    found_in = {file: _look_at_all(rows, named) for file, rows in frames.items()}
    source = replace(source, **_choose(found_in.values(), given, source.delimiter))
    notes = [_describe(source), *_show_letters(frame, source, given), *_nameless(read.nameless)]
    for name in dict.fromkeys(name for signs in found_in.values() for name in signs):
        signs = {file: signs[name] for file, signs in found_in.items() if name in signs}
        odd = [file for file, found in signs.items() if not _fit(found, source)]
        first = signs[odd[0]] if odd else next(iter(signs.values()))
        example = first.no_point if source.decimal == "." else first.no_comma
        if not odd:
            texts = pa.array(frame[name], pa.string(), from_pandas=True)
            frame[name] = plain_numbers(texts, source.decimal, source.thousands).to_pandas()
            notes += _doubt(name, first, source, found_in.values())
        elif len(odd) < len(signs):
            raise SourceError(
                where=f"{odd[0]}: {name}",
                wanted=f"numbers whose decimal sign is {source.decimal}, as in the other files",
                got=example,
                then="write them like the others, or move the file out of the folder",
            )
        else:
            frame = frame.drop(columns=[name])
            notes.append(
                f"left out: {name} has numbers such as {example}, in a file whose decimal sign is "
                f"{source.decimal}"
            )
    return FoundTable(frame, source, read, tuple(notes))


def _look_at_all(rows: pd.DataFrame, named: Sequence[str]) -> dict[str, _Signs]:
    texts = {
        str(name): pa.array(rows[name], pa.string(), from_pandas=True)
        for name in rows.columns
        if name not in named
    }
    return {name: found for name, column in texts.items() if (found := _look_at(column))}


def find_signs_of_text(
    path: Path, given: Mapping[str, Any], named: Sequence[str]
) -> dict[str, Any]:
    """Encoding, quote and delimiter of a CSV file; nothing for Parquet.

    Raises SourceError when its encoding cannot be told.
    """
    if find_table(path) == ".parquet":
        return {}
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
    found_in: Iterable[Mapping[str, _Signs]], given: Mapping[str, Any], delimiter: str
) -> dict[str, Any]:
    """The signs that most columns fit. Of equals a point, but a comma beside another delimiter:
    that is written where commas stand in numbers."""
    signs = [found for signs in found_in for found in signs.values()]
    commas = sum(not found.point and found.comma_and_points for found in signs)
    points = sum(found.point and not found.comma_and_points for found in signs)
    decimal = given.get("decimal") or (
        "," if commas + (delimiter != "," and commas > 0) > points else "."
    )
    if given.get("thousands") is not None:
        return {"decimal": decimal, "thousands": given["thousands"]}
    between = [found.between for found in signs if found.between not in ("", decimal)]
    if decimal == "," and any(found.comma_and_points and not found.comma for found in signs):
        between.insert(0, ".")
    return {"decimal": decimal, "thousands": between[0] if between else ""}


def _fit(found: _Signs, source: Source) -> bool:
    if source.decimal == ".":
        return found.point
    return found.comma_and_points if source.thousands == "." else found.comma


def _doubt(
    name: str, found: _Signs, source: Source, found_in: Iterable[Mapping[str, _Signs]]
) -> tuple[str, ...]:
    """A word about 1,234, which may be 1234 or a little more than 1."""
    if (
        source.decimal == "."
        and "," in found.example
        and found.comma
        and not any(
            other.point and not other.comma for signs in found_in for other in signs.values()
        )
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
