"""What a turn needs: a source, a journal and a registry, real ones or those of a replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from closedloop.bundle.loaded import LoadedVersion
from closedloop.decisions.rollback_evidence import Served
from closedloop.registry.versions import VersionFacts
from closedloop.storage.journal import Journal
from closedloop.turn.compute import Compute
from closedloop.use_case.contract import UseCase
from closedloop.windows.sources import WindowSource


class Models(Protocol):
    """Versions and what is live: `registry.Registry`, or a replay's own.

    Every method promises what the registry's promises.
    """

    def versions(self) -> Sequence[VersionFacts]:
        """Every version, oldest first."""

    def load(self, number: int, /) -> LoadedVersion:
        """One version, ready to answer; raises RegistryError or ModelError."""

    def production(self) -> int | None:
        """The version that is live."""

    def previous(self) -> int | None:
        """The version that production replaced, if there is one to go back to."""

    def promote(
        self, number: int, /, *, instead_of: int | None, reason: str, decision: int | None = None
    ) -> bool:
        """Move `production` forward; False when it is meanwhile neither of the two."""

    def roll_back(
        self, to: int, /, *, instead_of: int, reason: str, decision: int | None = None
    ) -> bool:
        """Move `production` back; False when it is meanwhile neither of the two."""

    def put_back(self, number: int, /, *, instead_of: int | None, previous: int | None) -> bool:
        """Move the aliases back to where they were; False when production is at neither."""

    def kept_head(self) -> str | None:
        """The head of the journal's chain as it was kept last; None where nothing was."""

    def keep_head(self, head: str, /) -> None:
        """Keep the head of the journal's chain, beside the versions."""

    def reject(self, number: int, /, *, reason: str, decision: int | None = None) -> None:
        """Note that a version will not be live."""


class Parts(Protocol):
    """One use case and what a turn works with: `turn.open.Loop`, or a replay's own."""

    @property
    def use_case(self) -> UseCase:
        """The data, the policy and the recipes."""

    @property
    def source(self) -> WindowSource:
        """Where windows come from."""

    @property
    def journal(self) -> Journal:
        """Where decisions are written down."""

    @property
    def registry(self) -> Models:
        """Where versions are."""

    @property
    def compute(self) -> Compute:
        """Who does the costly steps."""

    def served(
        self, production: int | None, previous: int | None
    ) -> tuple[Served | None, Served | None]:
        """What the service noted of both since the promotion and before it; None where nothing."""


P = TypeVar("P", bound=Parts, covariant=True)
