"""The JSON of MLflow's scoring server -> columns, in any order; unknown columns are ignored.

Only the form is checked here. The values are checked as for /predict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json

from api.broken_json import describe_broken_json
from api.protocols.columns import Table, known_names, refuse_many
from api.refusal import Refusal, show
from closedloop.use_case.contract import UseCase

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def read_json_table(body: bytes, use_case: UseCase, max_rows: int) -> Table:
    """The table in an object with one of FORMS.

    Raises Refusal 400 for another form, or 413 for too many rows.
    """
    try:
        content = from_json(body)  # with NaN, which pandas and json.dumps write for null
    except ValueError as error:
        raise Refusal(400, describe_broken_json(body, error)) from None
    found = [form for form in FORMS if form in content] if isinstance(content, dict) else []
    if len(found) != 1:
        got = " and ".join(found) if found else show(content)
        raise Refusal(400, f"wanted an object with one of {', '.join(FORMS)}, got {got}")
    form, names = found[0], known_names(use_case)
    given = content[form]
    if form == "dataframe_split":
        return _read_split(given, names, max_rows)
    if form != "dataframe_records" and isinstance(given, dict):
        return _read_columns(form, given, names, max_rows)
    if not isinstance(given, list):
        raise _refusal(
            form,
            "a list of objects" if form == "dataframe_records" else "columns or a list of objects",
            given,
        )
    refuse_many(len(given), max_rows)
    if (
        form != "dataframe_records"
        and len(use_case.columns) == 1
        and given
        and not any(isinstance(value, dict) for value in given)
    ):
        return Table({next(iter(use_case.columns)): given}, len(given))
    return _read_records(form, given, names)


def _read_split(given: Any, names: Sequence[str], max_rows: int) -> Table:
    form = "dataframe_split"
    if (
        not isinstance(given, dict)
        or "data" not in given
        or given.keys() - {"columns", "index", "data"}
    ):
        raise _refusal(
            form,
            "columns, data and, if any, index",
            list(given) if isinstance(given, dict) else given,
        )
    columns, data, index = given.get("columns") or [], given["data"], given.get("index")
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise _refusal(form, "a list of names as columns", columns)
    if not isinstance(data, list) or not all(isinstance(row, list) for row in data):
        raise _refusal(form, "a list of lists as data", data)
    refuse_many(len(data), max_rows)
    if index is not None and (not isinstance(index, list) or len(index) != len(data)):
        raise _refusal(form, f"an index of {len(data)} entries", index)
    places = find_places(form, columns, names)
    for number, row in enumerate(data):
        if columns and len(row) != len(columns):
            raise Refusal(
                400,
                f"{form}: wanted {len(columns)} values in each row, got {len(row)} in row {number}",
            )
    ignored = [name for name in columns if name not in places]
    return Table(
        {name: [row[place] for row in data] for name, place in places.items()}, len(data), ignored
    )


def _read_columns(form: str, given: dict[str, Any], names: Sequence[str], max_rows: int) -> Table:
    """The table of column -> values; a single value applies to every row."""
    known = {name: given[name] for name in names if name in given}
    lengths = {name: len(values) for name, values in known.items() if isinstance(values, list)}
    rows = max(lengths.values(), default=1)
    refuse_many(rows, max_rows)
    for name, length in lengths.items():
        if length != rows:
            raise Refusal(
                400,
                f"{form}: wanted columns of equal length, got {length} values for {name} "
                f"and {rows} for another",
            )
    columns = {
        name: values if isinstance(values, list) else [values] * rows
        for name, values in known.items()
    }
    return Table(columns, rows, [name for name in given if name not in known])


def _read_records(form: str, given: list[Any], names: Sequence[str]) -> Table:
    for number, record in enumerate(given):
        if not isinstance(record, dict):
            raise Refusal(
                400, f"{form}: wanted a list of objects, got {show(record)} as row {number}"
            )
    came = {name for record in given for name in record}
    # A value that some rows lack is null, except in `instances`: tensors have no gaps.
    for name in names if form == "instances" else ():
        lacking = [number for number, record in enumerate(given) if name not in record]
        if name in came and lacking:
            raise Refusal(
                400, f"{form}: wanted a value for {name} in each row, got none in row {lacking[0]}"
            )
    columns = {name: [record.get(name) for record in given] for name in names if name in came}
    return Table(columns, len(given), list(came.difference(names)))


def find_places(form: str, columns: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """Name -> place of the columns that the model knows. Raises Refusal 400 for a duplicate."""
    for name in names:
        if columns.count(name) > 1:
            raise Refusal(
                400, f"{form}: wanted each column once, got {name} {columns.count(name)} times"
            )
    return {name: columns.index(name) for name in names if name in columns}


def _refusal(form: str, wanted: str, got: Any) -> Refusal:
    return Refusal(400, f"{form}: wanted {wanted}, got {show(got)}")
