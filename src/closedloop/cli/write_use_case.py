"""Write the loop.toml of `closedloop init`: all or nothing, and only one that can be read back."""

from __future__ import annotations

from pathlib import Path

from closedloop.cli.draft_leaks import mark_leaks
from closedloop.cli.draft_loop_toml import describe_table
from closedloop.errors import UseCaseError
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import load_use_case
from closedloop.use_case.source import Source
from closedloop.windows.chunks import read_table


def write_use_case(
    table: Path,
    target: str,
    out: Path,
    *,
    key: str | None,
    window_column: str | None,
    positive: str | None,
    force: bool,
) -> tuple[UseCase, tuple[str, ...]]:
    """Read the table, write the commented file; the use case that it describes, and notes on it.

    Raises UseCaseError when `out` exists (without `force`) or cannot be written, or when the table
    does not fit; SourceError when it cannot be read. An error leaves no file behind.
    """
    if out.is_dir():
        out = out / "loop.toml"
    if out.exists() and not force:
        raise UseCaseError(
            where=str(out),
            wanted="a new file",
            got="one that exists",
            then="choose another --out, or add --force",
        )
    source = find_source(table, window_column)
    frame = read_table(table, source)
    draft = describe_table(
        frame,
        table,
        name=_plain_name(table),
        target=target,
        key=key,
        source=source,
        out=out,
        positive=positive,
    )
    temporary = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(draft.text, encoding="utf-8")
        draft = mark_leaks(draft, frame, load_use_case(temporary))
        temporary.write_text(draft.text, encoding="utf-8")
        load_use_case(temporary)
        temporary.replace(out)
    except OSError as error:
        raise UseCaseError(
            where=str(out),
            wanted="a file that can be written",
            got=error.strerror or str(error),
            then="choose another --out",
        ) from error
    finally:
        if temporary.exists():
            temporary.unlink()
    return load_use_case(out), draft.notes


def find_source(table: Path, window_column: str | None) -> Source:
    """How the table is written, and which column names the windows."""
    return Source(windows=table.name, window_column=window_column)


def _plain_name(table: Path) -> str:
    stem = table.name.split(".")[0]
    return (
        "".join(
            character if character.isascii() and (character.isalnum() or character in "-_") else "_"
            for character in stem
        ).strip("_")
        or "use_case"
    )
