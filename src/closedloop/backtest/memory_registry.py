"""A registry in memory, for replays: it moves aliases as the one in MLflow does."""

from __future__ import annotations

import json
from dataclasses import replace

from closedloop.bundle.loaded import LoadedVersion
from closedloop.errors import RegistryError
from closedloop.registry.versions import PREVIOUS, PRODUCTION, VersionFacts


class MemoryRegistry:
    """The models of a use case, in memory only."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._models: dict[int, LoadedVersion] = {}
        self._facts: dict[int, VersionFacts] = {}
        self._aliases: dict[str, int] = {}

    def add(self, model: LoadedVersion, window: str) -> int:
        """Register a model as a candidate; returns its version."""
        number, facts = len(self._models) + 1, model.facts
        self._models[number] = model
        self._facts[number] = VersionFacts(
            number,
            "candidate",
            (),
            facts.key,
            facts.recipe,
            window,
            facts.trained_windows[-1],
            facts.val_auc,
            "",
            val_auc_error=facts.val_auc_error,
            measured=facts.measured,
            learnt=json.dumps(facts.digests) if facts.digests else "",
        )
        return number

    def versions(self) -> tuple[VersionFacts, ...]:
        """Every version, oldest first."""
        return tuple(self.version(number) for number in self._facts)

    def version(self, number: int) -> VersionFacts:
        """One version; raises RegistryError when there is no such version."""
        if number not in self._facts:
            known = ", ".join(map(str, self._facts)) or "none yet"
            raise RegistryError(
                where=f"model {self.name}",
                wanted=f"version {number}",
                got=f"versions {known}",
                then="choose a known version",
            )
        aliases = tuple(sorted(alias for alias, place in self._aliases.items() if place == number))
        return replace(self._facts[number], aliases=aliases)

    def load(self, number: int) -> LoadedVersion:
        """The model of a version; raises RegistryError when there is no such version."""
        return self._models[self.version(number).version]

    def production(self) -> int | None:
        """The version that `production` points at, if any."""
        return self._aliases.get(PRODUCTION)

    def previous(self) -> int | None:
        """The version that production replaced, if there is one to go back to."""
        return self._aliases.get(PREVIOUS)

    def promote(
        self, number: int, *, instead_of: int | None, reason: str, decision: int | None = None
    ) -> bool:
        """Move `production` forward; what it replaces becomes `previous`.

        False when `production` is at neither version.
        """
        live = self.production()
        if live not in (number, instead_of):
            return False
        self.version(number)
        self._aliases[PRODUCTION] = number
        if instead_of is not None and instead_of != number:
            self._aliases[PREVIOUS] = instead_of
            self._tag(instead_of, "archived")
        self._tag(number, PRODUCTION)
        return True

    def roll_back(
        self, to: int, *, instead_of: int, reason: str, decision: int | None = None
    ) -> bool:
        """Move `production` back, archive what it leaves; False when it is at neither version."""
        if self.production() not in (to, instead_of):
            return False
        self.version(to)
        self._aliases[PRODUCTION] = to
        self._aliases.pop(PREVIOUS, None)
        self._tag(instead_of, "archived")
        self._tag(to, PRODUCTION)
        return True

    def put_back(self, number: int, *, instead_of: int | None, previous: int | None) -> bool:
        """Move both aliases back; False when `production` is at neither version."""
        if self.production() not in (number, instead_of):
            return False
        self.version(number)
        self._aliases[PRODUCTION] = number
        self._aliases.pop(PREVIOUS, None)
        if previous is not None:
            self._aliases[PREVIOUS] = previous
        return True

    def kept_head(self) -> None:
        """None: a replay has nobody who could change its journal."""

    def keep_head(self, head: str) -> None:
        """Nothing is kept."""

    def reject(self, number: int, *, reason: str, decision: int | None = None) -> None:
        """Mark a candidate as rejected; production stays as it is."""
        if number != self.production():
            self._tag(number, "rejected")

    def _tag(self, number: int, status: str) -> None:
        self._facts[number] = replace(self._facts[number], status=status)
