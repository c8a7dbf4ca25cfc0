"""The rows of a database that nobody has described yet, and its [source]."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.cli.draft.large_table import EveryRow
from closedloop.errors import SourceError, UseCaseError
from closedloop.use_case.source import Source
from closedloop.use_case.toml_text import quote
from closedloop.windows.database_url import (
    WHERE,
    name_tables,
    quote_name,
    require_database,
    without_password,
)
from closedloop.windows.sampled_query import QueryRows, sample_query
from closedloop.windows.sql_source import SqlSource
from closedloop.windows.tables.row_sample import RowSample, RowSampler

VARIABLE = "CLOSEDLOOP_SOURCE_URL"
_MOST_WINDOWS, _MOST_ROWS = 12, 200_000


@dataclass(frozen=True)
class DatabaseRows:
    """The rows, the window of each (None: a column of times tells it), and where they are."""

    frame: pd.DataFrame
    source: Source
    name: str
    windows: pd.Series[str] | None
    notes: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    """Notes that become comments, too."""
    every: EveryRow | None = None
    """All rows, when `frame` is a sample of them."""


def is_database(table: object) -> bool:
    """Whether this is the address of a database and not the path of a file."""
    return "://" in str(table)


def read_database(
    url: str,
    *,
    query: str | None,
    table: str | None,
    window_column: str | None,
    time_column: str | None,
    most_looked_at: float,
) -> DatabaseRows:
    """The rows of a query or a table: of the newest windows, or all when a time cuts them.

    Of more than `most_looked_at` rows a sample.

    The source holds the address, or `$CLOSEDLOOP_SOURCE_URL` when that has a password. Raises
    UseCaseError when the options do not fit, SourceError when the database does not answer.
    """
    if (query is None) == (table is None):
        raise _wrong_options("--query or --table", "both" if query else "neither")
    if (window_column is None) == (time_column is None):
        got = "both" if window_column else "neither"
        raise _wrong_options("--window-column or --time-column, to cut the rows", got)
    require_database(url)
    if table is not None:
        query = f"SELECT * FROM {'.'.join(quote_name(part, url) for part in table.split('.'))}"
    query = (query or "").strip().rstrip(";").strip()
    secret = without_password(url, url) != url
    address = f"${VARIABLE}" if secret else url
    hidden = (
        f"the address has a password and is not written: set it with export {VARIABLE}="
        f"'{without_password(url, url)}', with the password in the place of ***",
    )
    name = table or next(_tables_of(query), None) or "query"
    told: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    try:
        if time_column is not None:
            source = Source(
                kind="sql", url=address, query=query, time_column=time_column, every="day"
            )
            database, sampler = SqlSource(source, url), RowSampler(most_looked_at)
            found = _Found(
                {"": sample_query(database, query, "query", sampler, time_column)}, (query,)
            )
        else:
            column = quote_name(window_column or "", url)
            inner = f"({query}) AS rows_of_query"
            source = Source(
                kind="sql",
                url=address,
                windows_query=f"SELECT DISTINCT {column} FROM {inner}",
                query=f"SELECT * FROM {inner} WHERE {column} = '{{window}}'",
            )
            database, sampler = SqlSource(source, url), RowSampler(most_looked_at)
            found, told = _newest(database, sampler)
            remarks = (f"left out: {quote(window_column or '')} names the window of a row",)
    except SourceError as error:
        raise _name_near_tables(error, url, query) from None
    notes = (*(hidden if secret else ()), *told)
    frame, places = found.join(sampler)
    windows = every = None
    if window_column is not None:
        windows = pd.Series(found.names_of_rows())
        frame = frame.drop(columns=[window_column], errors="ignore")
    if len(places) < found.rows:
        runs = tuple((window, sample.rows) for window, sample in found.samples.items())
        whole = next(iter(found.samples.values())).whole
        rows = QueryRows(database, found.queries)
        windows, every = None, EveryRow(rows, places, runs, whole, in_order=False)
    return DatabaseRows(frame, source, name.split(".")[-1], windows, notes, remarks, every)


def describe_database(found: Source, remarks: Sequence[str] = ()) -> str:
    """The [source] of a loop.toml for a database."""
    texts: list[tuple[str, Any, str]] = [
        ("kind", "sql", ""),
        ("url", found.url, ""),
        ("windows_query", found.windows_query, "each row is a window"),
        ("query", found.query, "" if found.time_column is None else "reads all rows"),
        ("time_column", found.time_column, "the time of a row"),
        ("every", found.every, "a window holds the rows of one, and is used once it is over"),
    ]
    if found.time_column is not None:
        texts.append(("timezone", found.timezone, "the clock that windows begin by"))
        texts.append(("date_format", found.date_format, ""))
    return "\n".join(
        [
            "[source]",
            *(
                f"{name} = {quote(text)}{f'  # {comment}' if comment else ''}"
                for name, text, comment in texts
                if text is not None
            ),
            *(f"# {remark}" for remark in remarks),
            "",
        ]
    )


@dataclass(frozen=True)
class _Found:
    """The rows of each window that was asked for, oldest first, and the queries for them."""

    samples: Mapping[str, RowSample]
    queries: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Of all windows."""
        return sum(sample.rows for sample in self.samples.values())

    def join(self, sampler: RowSampler) -> tuple[pd.DataFrame, NDArray[np.int64]]:
        """The rows looked at, and their places among all."""
        samples = sampler.cut_all(self.samples.values())
        before = np.cumsum([0, *(sample.rows for sample in samples)])
        places = [sample.places + first for sample, first in zip(samples, before, strict=False)]
        frames = [sample.frame for sample in samples]
        frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
        return frame, np.concatenate(places)

    def names_of_rows(self) -> list[str]:
        """The window of each row."""
        return [name for name, sample in self.samples.items() for _ in range(sample.rows)]


def _newest(source: SqlSource, sampler: RowSampler) -> tuple[_Found, tuple[str, ...]]:
    """The rows of the newest windows, oldest first, and a note."""
    read, queries = dict[str, RowSample](), list[str]()
    windows = source.windows()
    for window in reversed(windows):
        queries.append(source.fill(window))
        read[window] = sample_query(source, queries[-1], f"window {window}", sampler)
        if not read[window].rows:
            raise SourceError(
                where=f"{WHERE}, window {window}",
                wanted="rows whose window column equals its text",
                got="none",
                then="write the window as text in --query, or use --time-column",
            )
        rows = sum(sample.rows for sample in read.values())
        if len(read) == _MOST_WINDOWS or rows >= _MOST_ROWS:
            break
    told = f"{len(windows)} windows, {windows[0]} to {windows[-1]}"
    if len(read) < len(windows):
        told += f"; guessed from the newest {len(read)}"
    return _Found(dict(reversed(read.items())), tuple(reversed(queries))), (told,)


def _tables_of(query: str) -> Iterator[str]:
    return (name.replace('"', "") for name in re.findall(r'(?i)\b(?:from|join)\s+([\w."]+)', query))


def _name_near_tables(error: SourceError, url: str, query: str) -> SourceError:
    """The error, with the tables whose names are like those that the query names wrongly."""
    tables = name_tables(url)
    wrong = [name for name in _tables_of(query) if "." not in name and name not in tables]
    near = difflib.get_close_matches(wrong[0], tables, n=1) if wrong else []
    if not wrong or not tables:
        return error
    return SourceError(
        where=WHERE,
        wanted="a table of the database",
        got=wrong[0],
        then=f"did you mean {near[0]}?" if near else f"its tables are {', '.join(tables[:12])}",
    )


def _wrong_options(wanted: str, got: str) -> UseCaseError:
    return UseCaseError(where="init of a database", wanted=wanted, got=got, then="give one of them")
