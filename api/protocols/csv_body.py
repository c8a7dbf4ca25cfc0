"""A CSV body, as MLflow's scoring server takes it -> columns; only the form is checked here."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

from api.protocols.columns import Table, known_names, refuse_many
from api.protocols.mlflow_bodies import find_places
from api.refusal import Refusal
from closedloop.use_case.contract import MISSING, UseCase
from closedloop.windows.spelling import read_category

_OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def read_csv_table(body: bytes, use_case: UseCase, max_rows: int) -> Table:
    """The table of a CSV file whose first line names the columns.

    Raises Refusal 400 for anything else, or 413 for too many rows.
    """
    try:
        text = body.decode("utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text, newline="")) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refusal(400, f"wanted CSV in UTF-8, got something else: {error}") from None
    if not lines:
        raise Refusal(400, "wanted CSV whose first line names the columns, got nothing")
    header, rows = lines[0], lines[1:]
    _refuse_other_delimiter(header, text, known_names(use_case))
    refuse_many(len(rows), max_rows)
    places = find_places("CSV", header, known_names(use_case))
    for number, row in enumerate(rows):
        if len(row) > len(header):
            raise Refusal(
                400,
                f"CSV: wanted at most {len(header)} values in each row, "
                f"got {len(row)} in row {number}: the decimal sign is a point, and a value with a "
                "comma needs quotes",
            )
    columns = {}
    for name, place in places.items():
        has_no_value = _is_null if name in use_case.numeric else _is_empty
        values = (row[place] if place < len(row) else "" for row in rows)
        columns[name] = [None if has_no_value(value) else value for value in values]
    return Table(columns, len(rows), [name for name in header if name and name not in places])


def _is_null(value: str) -> bool:
    return _spell(value) == MISSING


def _is_empty(value: str) -> bool:
    # Other spellings of null are left to the column: one of them may be a category.
    return not value


_spell: Callable[[Any], str] = read_category()


def _refuse_other_delimiter(header: Sequence[str], text: str, names: Sequence[str]) -> None:
    """Name the sign that separates the columns when it is no comma."""
    if any(name in header for name in names):
        return
    first = next(iter(text.strip().splitlines()), "")
    for sign, described in _OTHER_DELIMITERS.items():
        cells = next(csv.reader([first], delimiter=sign), [])
        if any(cell.strip() in names for cell in cells) and len(cells) > 1:
            raise Refusal(
                400,
                f"CSV: wanted commas between the values, got {described}: send commas, and a point "
                "as the decimal sign",
            )
