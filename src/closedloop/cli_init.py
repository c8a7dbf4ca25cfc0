"""`closedloop init TABLE`: a loop.toml for a table that nobody has described yet."""

from __future__ import annotations

from pathlib import Path

from closedloop.errors import UseCaseError
from closedloop.inspection import describe_table
from closedloop.sources import read_table
from closedloop.use_case import UseCase, load_use_case


def write_use_case(table: Path, target: str, out: Path, *, key: str | None, window_column: str | None, force: bool) -> UseCase:
    """Look at the table, write the commented file and read it back.

    Raises UseCaseError when `out` exists (without `force`) or cannot be written, or when the table does not fit; SourceError when it
    cannot be read. Nothing is left behind in either case.
    """
    if out.is_dir():
        out = out / "loop.toml"
    if out.exists() and not force:
        raise UseCaseError(where=str(out), wanted="a new file", got="one that exists", then="choose another --out, or say --force")
    frame = read_table(table)
    text = describe_table(frame, table, name=_plain_name(table), target=target, key=key, window_column=window_column, out=out)
    temporary = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        load_use_case(temporary)
        temporary.replace(out)
    except OSError as error:
        raise UseCaseError(
            where=str(out), wanted="a file that can be written", got=error.strerror or str(error), then="choose another --out"
        ) from error
    finally:
        if temporary.exists():
            temporary.unlink()
    return load_use_case(out)


def _plain_name(table: Path) -> str:
    stem = table.name.split(".")[0]
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_") else "_" for sign in stem).strip("_") or "use_case"
