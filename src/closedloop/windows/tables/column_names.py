"""Names of columns, the same for every reader: stripped, and no two alike."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from closedloop.errors import SourceError

_UNSEEN = "\ufeff\u200b"


def read_names(header: Sequence[str], keep: Collection[str] = ()) -> tuple[str, ...]:
    """Names without blanks around them; a name in `keep` stays as it is, a nameless column ''."""
    return tuple(name if name in keep else _strip(name) for name in header)


def _strip(name: str) -> str:
    return name.strip().strip(_UNSEEN).strip()


def refuse_names_alike(names: Sequence[str], path: Path) -> None:
    """Raise SourceError when two columns have the same name, or differ in case only."""
    seen: dict[str, tuple[int, str]] = {}
    for place, name in enumerate(names, start=1):
        if not name:
            continue
        before, other = seen.setdefault(name.casefold(), (place, name))
        if before != place:
            alike = "twice" if name == other else "but for upper and lower case"
            raise SourceError(
                where=str(path),
                wanted="columns with different names",
                got=f"columns {before} and {place} named {other!r} and {name!r}, the same {alike}",
                then="rename or remove one of them in the file",
            )
