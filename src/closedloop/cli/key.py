"""`closedloop key`: who may ask the API."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from closedloop.errors import UseCaseError
from closedloop.operations.api_keys import add_key, read_keys, remove_key

ACTIONS = ("add", "list", "remove")


def change_keys(action: str, name: str | None, path: Path, progress: Console) -> list[str]:
    """Do it, and return the lines for stdout: the new key alone, or a line per key; what else there
    is to say goes to `progress`.

    Raises UseCaseError when the words make no sense, ClosedLoopError when the file refuses.
    """
    if action not in ACTIONS:
        raise UseCaseError(
            where="closedloop key", wanted=", ".join(ACTIONS), got=action, then="choose one of them"
        )
    if (name is None) is not (action == "list"):
        raise UseCaseError(
            where=f"closedloop key {action}",
            wanted="no name" if name else "the name of a key",
            got=name or "none",
            then="leave it out" if name else f"say: closedloop key {action} NAME",
        )
    if name is None:
        return [f"{one.name}  added {one.added}" for one in read_keys(path)]
    if action == "remove":
        left = remove_key(path, name)
        _say(
            progress,
            f"removed {name}, {left} left in {path}"
            + ("" if left else ": a service that runs refuses everybody from now on"),
        )
        return []
    key = add_key(path, name)
    _say(
        progress,
        f"the key of {name}, shown this once ({path} keeps its hash); send it as: Authorization: Bearer KEY",
    )
    return [key]


def _say(progress: Console, sentence: str) -> None:
    progress.print(sentence, soft_wrap=True, highlight=False, markup=False)
