"""The text of alerts. What comes from outside, such as the name of a window, is never a command
where it is read: no header of a mail, no mention in a chat, no link, no control character."""

from __future__ import annotations

import re

from closedloop.shown_text import printable

MOST_KEY, MOST_TITLE, MOST_TEXT = 300, 200, 2_000
_WORD_JOINER = "\u2060"  # shows nothing, and is part of no mention and no address
# The signs by which chats know mentions (`<!channel>`, `<@U1>`, `@here`), links and addresses.
_SIGNS = re.compile(r"[<>@&\[\]]|://|(?<=[A-Za-z])\.(?=[A-Za-z])")


def one_line(text: str, most: int = MOST_TEXT) -> str:
    """The text as one line of at most so many characters, without control characters."""
    whole = text.encode("utf-8", "replace").decode("utf-8")  # without halves of characters
    return cut(" ".join(printable(whole).split()), most)


def cut(text: str, most: int) -> str:
    """At most so many characters; what is left out shows as an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def defuse(text: str) -> str:
    """The text for chats and mails: it reads the same, and mentions nobody and links nowhere."""
    return _SIGNS.sub(lambda found: f"{found[0][0]}{_WORD_JOINER}{found[0][1:]}", text)
