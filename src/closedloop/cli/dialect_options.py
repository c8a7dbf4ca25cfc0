"""Options of `closedloop init` that say how a CSV file is written; without them it is found out."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from closedloop.errors import UseCaseError

_ALLOWED = {"decimal": (".", ","), "thousands": ("", ".", ",", " ", "'")}

Delimiter = Annotated[
    str | None, typer.Option("--delimiter", help="The sign between values, or tab.", metavar="SIGN")
]
Decimal = Annotated[
    str | None, typer.Option("--decimal", help="The decimal sign of numbers.", metavar="SIGN")
]
Thousands = Annotated[
    str | None, typer.Option("--thousands", help="The sign between thousands.", metavar="SIGN")
]
Encoding = Annotated[
    str | None, typer.Option("--encoding", help="Such as utf-8 or latin-1.", metavar="NAME")
]
Quote = Annotated[
    str | None, typer.Option("--quote", help="The sign around values, or none.", metavar="SIGN")
]
NullValues = Annotated[
    str | None,
    typer.Option(
        "--null-values", help="Texts that mean no value, with commas between.", metavar="TEXTS"
    ),
]


def read_dialect(
    *,
    delimiter: str | None,
    decimal: str | None,
    thousands: str | None,
    encoding: str | None,
    quote: str | None,
    null_values: str | None,
) -> dict[str, Any]:
    """The settings that were given, by the names they have under [source].

    Raises UseCaseError for a sign that cannot be one.
    """
    given: dict[str, Any] = {
        "delimiter": {"tab": "\t", "\\t": "\t"}.get(delimiter or "", delimiter),
        "decimal": decimal,
        "thousands": thousands,
        "encoding": encoding,
        "quote": "" if quote == "none" else quote,
        "null_values": None
        if null_values is None
        else tuple(text.strip() for text in null_values.split(",") if text.strip()),
    }
    given = {name: value for name, value in given.items() if value is not None}
    for name, allowed in _ALLOWED.items():
        if name in given and given[name] not in allowed:
            raise UseCaseError(
                where=f"--{name}",
                wanted=f"one of {' '.join(map(repr, allowed))}",
                got=repr(given[name]),
                then="choose one of them",
            )
    return given
