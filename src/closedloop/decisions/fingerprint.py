"""What a fingerprint is taken of: frozen dataclasses, as plain values.

Installations that are brought up to date keep the fingerprints of what they do not use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from types import MappingProxyType
from typing import Any

# Metadata of a field that older files do not know. While it has its default it is left out of
# fingerprints: an installation that is brought up to date keeps the keys of its decisions.
ADDED_LATER = MappingProxyType({"added_later": True})


def describe(part: Any) -> Any:
    """What a fingerprint is taken of: dataclasses as plain dicts, all the way down."""
    if is_dataclass(part):
        return {
            found.name: describe(getattr(part, found.name))
            for found in fields(part)
            if not (found.metadata.get("added_later") and _is_default(part, found))
        }
    if isinstance(part, Mapping):
        return {name: describe(value) for name, value in part.items()}
    return [describe(value) for value in part] if isinstance(part, (list, tuple)) else part


def _is_default(part: Any, found: Field[Any]) -> bool:
    made = found.default_factory
    return bool(getattr(part, found.name) == (found.default if made is MISSING else made()))
