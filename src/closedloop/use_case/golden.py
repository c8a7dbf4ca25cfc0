"""Golden cases: rows that any good model answers in a known way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from closedloop.errors import UseCaseError
from closedloop.json_text import read_json
from closedloop.use_case.contract import Column, GoldenCase


def load_golden(
    name: str | None, path: Path, columns: Mapping[str, Column], classes: Sequence[str]
) -> tuple[GoldenCase, ...]:
    """The golden cases in a file beside the loop.toml at `path`; none without a name.

    The file is a JSON list of {name, row, label, minimum, maximum}. Raises UseCaseError.
    """
    if name is None:
        return ()
    golden = path.parent / name
    try:
        cases = TypeAdapter(tuple[GoldenCase, ...]).validate_python(
            read_json(golden.read_text(encoding="utf-8"))
        )
    except (OSError, ValueError) as error:
        raise UseCaseError(
            where=str(golden),
            wanted="a JSON list of golden cases {name, row, label, minimum, maximum}",
            got=str(error).splitlines()[0],
            then="fix the file, or remove golden from loop.toml",
        ) from None
    for case in cases:
        needed = {name for name, column in columns.items() if not column.optional}
        missing = sorted(needed - set(case.row))
        unknown = sorted(set(case.row) - set(columns))
        if missing or unknown or case.label not in classes:
            got = (
                f"missing {missing}"
                if missing
                else f"unknown {unknown}"
                if unknown
                else f"label {case.label!r}"
            )
            raise UseCaseError(
                where=f"{golden}: case {case.name}",
                wanted=f"every feature and a label of {list(classes)}",
                got=got,
                then="fix the case",
            )
    return cases
