"""The facts of the first view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from closedloop.turn.open import Loop


def gather_overview(loop: Loop, _asked: Mapping[str, str]) -> dict[str, Any]:
    """Which version is in production, which was before, and the newest decisions."""
    entries = loop.journal.history(loop.use_case.name)
    return {
        "production": loop.registry.production(),
        "previous": loop.registry.previous(),
        "entries": list(reversed(entries))[:10],
    }
