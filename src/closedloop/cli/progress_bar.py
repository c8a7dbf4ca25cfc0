"""A progress bar for the commands that take minutes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from closedloop.cli.plain_text import plain
from closedloop.operations.progress import OnProgress


@contextmanager
def show_progress(console: Console, title: str) -> Iterator[OnProgress]:
    """A bar on `console` for the duration of the block; nothing where `console` is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(plain(title), total=None)
        yield lambda done, size: bar.update(task, completed=done, total=size)
