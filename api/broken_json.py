"""What is wrong with a body that is not JSON, in words: only asked when it could not be read."""

from __future__ import annotations

import math
import re
from typing import Any

from pydantic_core import from_json

from api.refusal import MAX_FAULTS, fault

_PLACE = re.compile(r"at line (\d+) column (\d+)$")
# What other languages write, and what JSON has instead.
_INSTEAD = {
    **dict.fromkeys(("None", "nan", "Nan", "NULL", "Null", "undefined", "NA"), "null"),
    "True": "true",
    "False": "false",
    "'": "double quotes",
}
_SHOWN = 20


def describe_broken_json(body: bytes, error: ValueError) -> str:
    """One sentence: where the JSON ends being JSON, with the text there and what to send."""
    found = _PLACE.search(str(error))
    if found is None:
        return f"wanted JSON, got something else: {error}"
    lines = body.split(b"\n")
    line = lines[min(int(found[1]), len(lines)) - 1]
    start = min(max(int(found[2]) - 1, 0), len(line))
    while start > 0 and line[start - 1 : start].isalpha():
        start -= 1
    rest = line[start : start + _SHOWN].decode(errors="replace").strip()
    word = re.match(r"[A-Za-z]+|'", rest)
    instead = _INSTEAD.get(word[0]) if word else None
    return f"wanted JSON, got something else: {error}" + (
        f": {word[0]} is not JSON: send {instead}"
        if word and instead
        else f", at {rest!r}"
        if rest
        else ""
    )


def find_literals(body: bytes) -> list[dict[str, Any]]:
    """A fault for each NaN and Infinity, which Python's `json` and pandas write for null."""
    try:
        content = from_json(body)
    except ValueError:
        return []
    found: list[dict[str, Any]] = []
    open_parts: list[tuple[tuple[str | int, ...], Any]] = [((), content)]
    while open_parts and len(found) < MAX_FAULTS:
        place, value = open_parts.pop()
        if isinstance(value, float) and not math.isfinite(value):
            name = "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
            found.append(fault(place, f"{name} is not JSON: send null", "json_invalid"))
        elif isinstance(value, dict | list):
            parts = list(value.items() if isinstance(value, dict) else enumerate(value))
            open_parts += [((*place, name), part) for name, part in reversed(parts)]
    return found
