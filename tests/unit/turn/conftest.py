"""A use case with a real journal, and a real registry over an MLflow in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from closedloop.decisions.checks import Action, Check, Decision, Kind, Outcome, Role
from closedloop.errors import RegistryError
from closedloop.registry.registry import Registry
from closedloop.registry.versions import find_digest
from closedloop.settings import Settings
from closedloop.storage.details import PromotionDetails, TurnDetails
from closedloop.storage.engine import open_engine
from closedloop.storage.entry import Entry
from closedloop.storage.journal import Journal
from closedloop.turn.open import Loop
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.windows.sources import NoWindows
from tests.mlflow_in_memory import CrashingClient, MemoryClient

CONTENT = {
    "name": "shop",
    "target": {"column": "left", "classes": ["False", "True"]},
    "columns": {"spend": {"type": "numeric"}},
    "source": {"query": "select 1", "windows": "*.csv"},
}
WORSE = (Check("production is worse", Outcome.HOLDS, Role.TRIGGER, "below 0", "-0.02"),)
BETTER = (Check("candidate is better", Outcome.HOLDS, Role.GATE, "above 0", "+0.02"),)


@dataclass(frozen=True)
class NamedWindows:
    """A source of windows that nobody reads."""

    names: tuple[str, ...] = ()

    def windows(self) -> tuple[str, ...]:
        if not self.names:
            raise NoWindows(where="source", wanted="windows", got="none", then="add one")
        return self.names

    def read(self, window: str) -> Any:
        raise NotImplementedError


@dataclass
class Place:
    """A loop with a real journal and a real registry over an MLflow in memory."""

    loop: Loop
    client: MemoryClient

    def state(self) -> tuple[Any, ...]:
        """All that the registry says: what is live, what was before, and every status."""
        registry = self.loop.registry
        return (
            registry.production(),
            registry.previous(),
            tuple(version.status for version in registry.versions()),
        )

    def add(self, count: int, made_by: str = "run") -> None:
        for number in range(count):
            self.loop.registry.register(
                f"key-{number}", f"{made_by}-{number}", {"window": f"month_{number}"}
            )

    def decide(
        self,
        action: Action,
        version: int | None,
        key: str = "a key",
        window: str = "month_009",
    ) -> Entry:
        back, live = action is Action.ROLLBACK, self.loop.registry.production()
        bundle = find_digest(self.loop.registry.versions(), version)
        decision = Decision(
            Kind.ROLLBACK if back else Kind.PROMOTION,
            action,
            window,
            WORSE if back else BETTER,
            version,
        )
        return self.loop.journal.write(
            key,
            "shop",
            decision,
            details=TurnDetails(live, bundle=bundle)
            if back
            else PromotionDetails(live, bundle=bundle),
        )

    def crash_in(self, work: Callable[[], object], after: int) -> bool:
        """Do the work with an MLflow that is gone after some calls; did it crash?"""
        self.loop.registry._client_made = CrashingClient(self.client, after)
        try:
            work()
        except RegistryError:
            return True
        finally:
            self.loop.registry._client_made = self.client
        return False


@pytest.fixture
def make_place(tmp_path: Path) -> Callable[[], Place]:
    numbers = iter(range(1000))

    def make() -> Place:
        engine = open_engine(f"sqlite:///{tmp_path / str(next(numbers)) / 'loop.db'}")
        registry = Registry("shop", "memory", artifacts=tmp_path, downloads=tmp_path)
        registry._client_made = client = MemoryClient()
        nothing: Any = None
        use_case = parse_use_case(CONTENT, tmp_path / "loop.toml")
        return Place(
            Loop(
                use_case,
                Settings(home=tmp_path),
                NamedWindows(),
                nothing,
                Journal(engine),
                registry,
                engine,
            ),
            client,
        )

    return make


@pytest.fixture
def place(make_place: Callable[[], Place]) -> Place:
    return make_place()
