"""As much of a registry as pruning looks at."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from closedloop.errors import ModelError
from closedloop.registry.versions import VersionFacts


def version(
    number: int, status: str, *aliases: str, run: str | None = None, key: str = "key"
) -> VersionFacts:
    return VersionFacts(
        number,
        status,
        aliases,
        f"{key}-{number}",
        "logistic/all",
        "w",
        "w",
        None,
        run or f"run-{number}",
    )


@dataclass
class Shelf:
    """As much of a registry as pruning looks at: version 2 is live, and was trained on these
    windows."""

    windows: tuple[str, ...]
    broken: bool = False
    live: int | None = 2
    pruned: list[int] = field(default_factory=list)

    def versions(self) -> list[VersionFacts]:
        return [
            version(1, "archived"),
            version(2, "production", *(["production"] if self.live else [])),
        ]

    def production(self) -> int | None:
        return self.live

    def previous(self) -> None:
        return None

    def kept_head(self) -> None:
        return None

    def load(self, number: int) -> Any:
        if self.broken:
            raise ModelError(
                where="version 2", wanted="a model", got="nonsense", then="train again"
            )
        return SimpleNamespace(facts=SimpleNamespace(trained_windows=self.windows))

    def count_files(self, name: str) -> int:
        return 7

    def drop_files(self, name: str, *, keep: int) -> None:
        self.dropped = name, keep

    def prune(self, number: int) -> None:
        self.pruned.append(number)
