"""The rows of a database that nobody has described yet, and its [source]."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

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
from closedloop.windows.sql_source import SqlSource

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
) -> DatabaseRows:
    """The rows of a query or a table: of the newest windows, or all when a time cuts them.

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
            frame, windows = SqlSource(source, url).ask(query, "query"), None
        else:
            column = quote_name(window_column or "", url)
            inner = f"({query}) AS rows_of_query"
            source = Source(
                kind="sql",
                url=address,
                windows_query=f"SELECT DISTINCT {column} FROM {inner}",
                query=f"SELECT * FROM {inner} WHERE {column} = '{{window}}'",
            )
            frame, windows, told = _newest(SqlSource(source, url))
            remarks = (f"left out: {quote(window_column or '')} names the window of a row",)
            frame = frame.drop(columns=[window_column], errors="ignore")
    except SourceError as error:
        raise _name_near_tables(error, url, query) from None
    notes = (*(hidden if secret else ()), *told)
    return DatabaseRows(frame, source, name.split(".")[-1], windows, notes, remarks)


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


def _newest(source: SqlSource) -> tuple[pd.DataFrame, pd.Series[str], tuple[str, ...]]:
    """The rows of the newest windows, oldest first, the window of each, and a note."""
    read: dict[str, pd.DataFrame] = {}
    windows = source.windows()
    for window in reversed(windows):
        read[window] = source.read(window)
        if not len(read[window]):
            raise SourceError(
                where=f"{WHERE}, window {window}",
                wanted="rows whose window column equals its text",
                got="none",
                then="write the window as text in --query, or use --time-column",
            )
        if len(read) == _MOST_WINDOWS or sum(map(len, read.values())) >= _MOST_ROWS:
            break
    ordered = dict(reversed(read.items()))
    names = [window for window, rows in ordered.items() for _ in range(len(rows))]
    told = f"{len(windows)} windows, {windows[0]} to {windows[-1]}"
    if len(read) < len(windows):
        told += f"; guessed from the newest {len(read)}"
    return pd.concat(ordered.values(), ignore_index=True), pd.Series(names), (told,)


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
