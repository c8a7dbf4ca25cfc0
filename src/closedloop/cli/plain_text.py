"""Text from outside, such as the name of a window, on a terminal: never a command to it."""

from __future__ import annotations

import re

from rich.markup import escape

# Control characters, but for tabs and line ends, and those that turn the direction of writing.
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text with each character that would act on a terminal as its escape, such as \\x1b."""
    return _COMMANDS.sub(lambda found: ascii(found[0])[1:-1], text)


def plain(text: str) -> str:
    """The text for rich, which would take words in square brackets for colours."""
    return escape(printable(text))
