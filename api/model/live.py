"""What is live: the version in service, and the state of following the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from api.model.answer import LoadedModel


@dataclass(frozen=True)
class VersionRefusal:
    """Why a version did not come into service, and when it is tried again."""

    reason: str
    retry_at: datetime
    wait: timedelta


@dataclass(frozen=True)
class Following:
    """The state of following the registry.

    `wanted` is what `production` pointed at when the registry was last reached; `unknown` says why
    it is not followed, if the registry is not the one that the journal speaks of. `moved` tells
    which alias stands elsewhere than the journal put it, as far as that is known; empty if none
    does.
    """

    wanted: int | None = None
    registry_fault: str | None = None
    unknown: str | None = None
    asked: bool = False
    moved: str = ""
    refused: Mapping[int, VersionRefusal] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def registry(self) -> str:
        if not self.asked:
            return "not asked yet"
        return "unreachable" if self.registry_fault else "reachable"


class Production:
    """The version in service, None before the first, and the state of following.

    Each is replaced as a whole.
    """

    def __init__(self) -> None:
        self.current: LoadedModel | None = None
        self.following = Following()

    @property
    def reason(self) -> str | None:
        """Why nothing is live, or another version than `production`; None when all is well."""
        return self.explain(full=True)

    def explain(self, *, full: bool) -> str | None:
        """The same as `reason`.

        Without `full` it has no text of an error, which may tell hosts, paths and drivers.
        """
        current, following = self.current, self.following
        refusal = following.refused.get(following.wanted) if following.wanted is not None else None
        if following.unknown is not None:
            kept = "no model is loaded" if current is None else f"version {current.version} answers"
            return f"{following.unknown}; {kept}"
        if refusal is not None and (current is None or current.version != following.wanted):
            kept = "" if current is None else f"; version {current.version} stays live"
            because = f": {refusal.reason}" if full else ""
            return f"version {following.wanted} was refused{because}{kept}"
        if current is None:
            if fault := following.registry_fault:
                because = f": {fault}" if full else ""
                return f"no model is loaded and the registry is unreachable{because}"
            if not following.asked or following.wanted is not None:
                return "the production model is being loaded: ask again in a moment"
            return "no model in production yet: run closedloop monitor or closedloop train"
        if following.wanted is None and following.asked and not following.registry_fault:
            return f"nothing is in production any more; version {current.version} stays live"
        return None
