"""What a turn of the loop needs of its parts, so that a replay of history can turn with parts of
its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd

from closedloop.bundle.files import Facts
from closedloop.registry.versions import VersionFacts
from closedloop.storage.journal import Journal
from closedloop.turn.compute import Compute
from closedloop.use_case.contract import UseCase
from closedloop.windows.sources import WindowSource


class Model(Protocol):
    """A version that can be asked: `packaging.Bundle`, or a replay's own."""

    @property
    def facts(self) -> Facts:
        """What the model is."""

    @property
    def use_case(self) -> UseCase:
        """The contract that it was fitted under."""

    def probabilities(self, prepared: pd.DataFrame, /) -> np.ndarray:
        """Class probabilities, shape (n, k), in the order of `facts.classes`."""

    def reference(self) -> pd.DataFrame:
        """The sample of training rows that drift is held against."""


class Models(Protocol):
    """Versions and what is live: `registry.Registry`, or a replay's own. Every method promises what
    the registry's promises."""

    def versions(self) -> Sequence[VersionFacts]:
        """Every version, oldest first."""

    def load(self, number: int, /) -> Model:
        """One version, ready to answer; raises RegistryError or ModelError."""

    def production(self) -> int | None:
        """The version that is live."""

    def promote(self, number: int, /, *, instead_of: int | None, reason: str) -> bool:
        """Move `production` forward; False when it is meanwhile neither of the two."""

    def roll_back(self, to: int, /, *, instead_of: int, reason: str) -> bool:
        """Move `production` back; False when it is meanwhile neither of the two."""

    def reject(self, number: int, /, *, reason: str) -> None:
        """Note that a version will not be live."""


class Parts(Protocol):
    """One use case and what a turn works with: `loop.Loop`, or a replay's own."""

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


P = TypeVar("P", bound=Parts, covariant=True)
