"""What `closedloop doctor` says about files that lie beside those of a registered version."""

from __future__ import annotations

from closedloop.errors import name_some
from closedloop.turn.open import Loop

_SHOWN = 3


def describe_model_files(loop: Loop) -> str:
    """Files beside the registered ones, by version; only files on this machine are looked at."""
    found = loop.registry.extra_files()
    if not found:
        return "nothing lies beside the registered ones"
    return "; ".join(
        f"beside version {number}, ignored: {name_some(names, _SHOWN)}"
        for number, names in found.items()
    )
