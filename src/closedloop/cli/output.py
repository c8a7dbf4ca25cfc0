"""The program that commands belong to, and what they print: results on stdout, what a command is
busy with on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

app = typer.Typer(
    name="closedloop",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="A self-hosted closed loop for tabular classifiers: watch, retrain, prove, promote, serve, go back.",
    epilog="New here? closedloop demo. Your own table: closedloop init TABLE --target COLUMN. Something is wrong: closedloop doctor",
)
console = Console()
# What a command is busy with is nobody's result: it goes where a pipe does not read.
progress = Console(stderr=True)


def print_json(content: Any) -> None:
    """For programs. Not through rich: they read this whatever the width of the terminal."""
    sys.stdout.write(json.dumps(content, indent=2) + "\n")


def show(as_json: bool, content: Any, tell_people: Callable[[], object]) -> None:
    """The content for a program, or what `tell_people` prints."""
    print_json(content) if as_json else tell_people()


def tell(sentence: str) -> None:
    """A line that may be copied or read by a program is not broken at the width of the terminal."""
    sys.stdout.write(sentence + "\n")
