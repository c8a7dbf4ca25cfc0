"""Values as they are written in TOML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def quote(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def write_value(value: Any) -> str:
    """A value that was read from TOML, in one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, Mapping):
        inside = ", ".join(f"{quote(key)} = {write_value(each)}" for key, each in value.items())
        return f"{{ {inside} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(write_value, value))}]"
    return str(value)  # numbers, dates and times
