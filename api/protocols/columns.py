"""Columns of values -> checked rows, for protocols that send columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.model.answer import LoadedModel
from api.protocols.errors import describe_refusal
from api.refusal import Refusal
from api.requests import MAX_NUMBER
from api.rows.rows import Rows
from closedloop.use_case.contract import UseCase

_TEXTS, _NUMBERS = frozenset({str, type(None)}), frozenset({float, int, type(None)})


@dataclass(frozen=True, slots=True)
class Table:
    """Columns by name, each of `rows` JSON values, NaN for null; `ignored`: unknown columns."""

    columns: Mapping[str, Sequence[Any]]
    rows: int
    ignored: Sequence[str] = ()


class MissingColumn(Refusal):
    """The request lacks a column of the model."""


def known_names(use_case: UseCase) -> tuple[str, ...]:
    """The columns of a model, then its key: what a table can hold."""
    return (*use_case.columns, *([use_case.key] if use_case.key is not None else []))


def read_table(model: LoadedModel, table: Table, max_rows: int) -> Rows:
    """The rows of a table.

    Raises Refusal 400 naming column and row, MissingColumn for a missing column, or 413 for too
    many rows.
    """
    _refuse_missing(model.use_case, table)
    if not table.rows:
        raise Refusal(400, "wanted at least one row, got none")
    refuse_many(table.rows, max_rows)
    return take_plain(model.use_case, table) or read_with_care(model, table, max_rows)


def read_with_care(model: LoadedModel, table: Table, max_rows: int) -> Rows:
    """The rows of a table of any values, checked by the careful reader of /predict."""
    names = [name for name in known_names(model.use_case) if name in table.columns]
    # Only NaN differs from itself.
    columns = [
        [None if value != value else value for value in table.columns[name]] for name in names
    ]
    rows = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    try:
        return model.reader.read_carefully({"rows": rows}, max_rows)
    except Refusal as refusal:
        raise Refusal(400, describe_refusal(refusal)) from None


def refuse_many(rows: int, max_rows: int) -> None:
    """Raises Refusal 413 for more rows than a request may have."""
    if rows > max_rows:
        raise Refusal(413, f"wanted at most {max_rows} rows in one request, got {rows}: split it")


def _refuse_missing(use_case: UseCase, table: Table) -> None:
    missing = [name for name in use_case.required if name not in table.columns]
    if missing:
        unknown = f"; unknown: {', '.join(sorted(table.ignored))[:500]}" if table.ignored else ""
        raise MissingColumn(
            400,
            f"wanted every column of the model, got none named {', '.join(missing)[:500]}{unknown}",
        )


def take_plain(use_case: UseCase, table: Table) -> Rows | None:
    """The rows when numbers are numbers, texts are texts and there is no key.

    None for everything else, which the careful reader must check.
    """
    if use_case.key in table.columns:
        return None
    columns = _with_optional(use_case, table)
    numbers = [_plain_numbers(columns[name]) for name in use_case.numeric]
    texts = [columns[name] for name in use_case.categorical]
    if None in numbers or not all(_TEXTS.issuperset(map(type, column)) for column in texts):
        return None
    return Rows.of_columns(numbers, texts, [None] * table.rows)  # type: ignore[arg-type]


def _with_optional(use_case: UseCase, table: Table) -> Mapping[str, Sequence[Any]]:
    """The columns of the table, and nulls for each optional one that it lacks."""
    lacking = set(use_case.columns).difference(use_case.required, table.columns)
    return {**table.columns, **dict.fromkeys(lacking, [None] * table.rows)}


def _plain_numbers(column: Sequence[Any]) -> Sequence[float | None] | None:
    if not _NUMBERS.issuperset(map(type, column)):
        return None
    try:
        read = [None if value is None or value != value else float(value) for value in column]
    except OverflowError:
        return None
    known = [value for value in read if value is not None]
    return read if not known or (min(known) >= -MAX_NUMBER and max(known) <= MAX_NUMBER) else None
