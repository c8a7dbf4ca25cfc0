"""closedloop: watch the data, retrain when it pays, promote only what the same rows prove, go back
in one command."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from closedloop.from_python.read_only_loop import ReadOnlyLoop

__all__ = ["open_loop"]


def open_loop(path: Path | str = "loop.toml", home: Path | str | None = None) -> ReadOnlyLoop:
    """Open a use case to look at it from Python; nothing is registered, moved or written down.

    `path` is a loop.toml or its folder, `home` the CLOSEDLOOP_HOME; without it the environment or
    .env says where that is. Raises UseCaseError for a mistake in one of them.
    """
    # Only now: `import closedloop` has to stay cheap for the command line and the service.
    from closedloop.from_python.read_only_loop import open_read_only

    return open_read_only(path, home)
