"""`closedloop generate`: the built-in data of a use case that has a generator."""

from __future__ import annotations

from pathlib import Path

from closedloop.errors import UseCaseError
from closedloop.loop import open_loop
from closedloop.sources import write_generated
from closedloop.synthetic import generate_windows


def generate_data(use_case: Path | None, months: int) -> tuple[str, ...]:
    """Write the windows that are missing; returns their names. Raises UseCaseError when the use case brings its own data."""
    loop = open_loop(use_case)
    generator = loop.use_case.source.generator
    if generator is None:
        raise UseCaseError(where=f"{loop.use_case.path}: source.generator", wanted="the name of a generator", got="none",
                           then="this use case brings its own data: nothing is generated for it")  # fmt: skip
    return write_generated(loop.use_case, loop.settings.data, generate_windows(generator, months))
