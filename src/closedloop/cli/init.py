"""`closedloop init TABLE`: a loop.toml for a table that nobody has described yet; and `closedloop
generate`: the built-in data."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from closedloop.cli.draft_loop_toml import describe_table
from closedloop.errors import UseCaseError
from closedloop.turn.open import open_loop
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import load_use_case
from closedloop.windows.sources import read_table, write_generated
from closedloop.windows.synthetic import generate_windows


def write_use_case(
    table: Path, target: str, out: Path, *, key: str | None, window_column: str | None, force: bool
) -> UseCase:
    """Look at the table, write the commented file and read it back.

    Raises UseCaseError when `out` exists (without `force`) or cannot be written, or when the table
    does not fit; SourceError when it cannot be read. Nothing is left behind in either case.
    """
    if out.is_dir():
        out = out / "loop.toml"
    if out.exists() and not force:
        raise UseCaseError(
            where=str(out),
            wanted="a new file",
            got="one that exists",
            then="choose another --out, or say --force",
        )
    frame = read_table(table)
    text = describe_table(
        frame,
        table,
        name=_plain_name(table),
        target=target,
        key=key,
        window_column=window_column,
        out=out,
    )
    temporary = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
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
    return load_use_case(out)


def tell_use_case(use_case: UseCase, out: Path) -> str:
    """What was written to `out`, and what to do next."""
    columns, classes = len(use_case.columns), ", ".join(use_case.target.classes)
    return (
        f"wrote {out}: {columns} features, target {use_case.target.column} with classes {classes}\n"
        f"next: read it, correct what was guessed, then: closedloop doctor --use-case {out}; closedloop monitor --use-case {out}"
    )


def generate_data(progress: Console, use_case: Path | None, months: int) -> str:
    """Write the windows that are not there yet; returns what was written, in a sentence.
    UseCaseError when there is no generator."""
    loop = open_loop(use_case)
    generator = loop.use_case.source.generator
    if generator is None:
        raise UseCaseError(
            where=f"{loop.use_case.path}: source.generator",
            wanted="the name of a generator",
            got="none",
            then="this use case brings its own data: nothing is generated for it",
        )
    with progress.status(f"writing {months} windows ..."):
        written = write_generated(
            loop.use_case, loop.settings.data, generate_windows(generator, months)
        )
    return f"wrote {', '.join(written)}" if written else "every window is there already"


def _plain_name(table: Path) -> str:
    stem = table.name.split(".")[0]
    return (
        "".join(
            sign if sign.isascii() and (sign.isalnum() or sign in "-_") else "_" for sign in stem
        ).strip("_")
        or "use_case"
    )
