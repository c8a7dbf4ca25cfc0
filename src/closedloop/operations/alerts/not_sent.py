"""That an alert was not sent, and why, without anything secret."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from closedloop.operations.alerts.safe_text import one_line

_MOST = 300
_SHORT = 4  # shorter pieces of an address are words, no secrets
_ADDRESS = re.compile(r"\S*://\S*")
_PIECES = re.compile(r"[/?&=@:#,]+")


class NotSent(Exception):
    """A channel did not take an alert. The text may be shown: it has no part of an address."""


def hide(text: str, *secrets: str) -> str:
    """The text in one line, with dots where a secret or a piece of a secret address stood."""
    pieces = {piece for secret in secrets for piece in (secret, *_PIECES.split(secret))}
    pieces |= {changed for piece in pieces for changed in (unquote(piece), quote(piece, safe=""))}
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) > _SHORT:
            text = text.replace(piece, "...")
    return one_line(_ADDRESS.sub("...", text), _MOST)
