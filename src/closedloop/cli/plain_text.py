"""Text from outside on a terminal that rich draws."""

from __future__ import annotations

from rich.markup import escape

from closedloop.shown_text import printable


def plain(text: str) -> str:
    """The text for rich, which would take words in square brackets for colours."""
    return escape(printable(text))
