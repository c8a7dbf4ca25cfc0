"""Text from outside, such as the name of a window, where people read it: never a command there."""

from __future__ import annotations

import re
from html import escape

# Control characters, but for tabs and line ends, and those that turn the direction of writing.
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# What means more than itself: of underscores those around a word, of brackets those of a link, and
# of what begins a line what makes it a heading or a list.
_MARKS = re.compile(r"[\\`*~|]|(?<!\w)_|_(?!\w)|\](?=[(\[:])|^[#>=+-]+(?=\s)")


def printable(text: str) -> str:
    """The text with each character that would act on a terminal as its escape, such as \\x1b."""
    return _COMMANDS.sub(lambda found: ascii(found[0])[1:-1], text)


def as_markdown(text: str) -> str:
    """The text as one line of Markdown that shows it, and is neither HTML, a link nor a table.

    Names of windows and columns and values of a table come from outside.
    """
    line = escape(" ".join(text.split()), quote=False)
    return _MARKS.sub(r"\\\g<0>", line)
