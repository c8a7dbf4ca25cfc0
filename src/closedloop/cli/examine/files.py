"""What `closedloop doctor` says about files that lie beside those of a registered version."""

from __future__ import annotations

from closedloop.turn.open import Loop

_SHOWN = 3


def describe_model_files(loop: Loop) -> str:
    """Files beside the registered ones, by version; only files on this machine are looked at."""
    found = loop.registry.extra_files()
    if not found:
        return "nothing lies beside the registered ones"
    return "; ".join(
        f"beside version {number}, ignored: {_shorten(names)}" for number, names in found.items()
    )


def _shorten(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
