"""The registry of a replay moves versions as MLflow's does: the same steps on both, the same
answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from closedloop.backtest.memory_registry import MemoryRegistry
from closedloop.bundle.files import Facts
from closedloop.bundle.loaded import LoadedVersion
from closedloop.bundle.skops_model import PipelineScorer
from closedloop.errors import RegistryError
from closedloop.registry.registry import Registry
from tests.unit.streams import make_use_case

pytestmark = pytest.mark.slow


def in_memory(folder: Path) -> tuple[Any, Callable[[str], int]]:
    use_case = make_use_case(folder)
    registry = MemoryRegistry(use_case.name)

    def add(window: str) -> int:
        facts = Facts(
            "shop", window, "logistic/all", ("no", "yes"), (window,), window, 0.75, {}, {}, 1, ""
        )
        scorer = PipelineScorer(None, use_case.numeric, use_case.categorical)
        return registry.add(LoadedVersion(facts, use_case, scorer, pd.DataFrame), window)

    return registry, add


def in_mlflow(folder: Path) -> tuple[Any, Callable[[str], int]]:
    registry = Registry(
        "shop",
        f"sqlite:///{folder / 'mlflow.db'}",
        artifacts=folder / "artifacts",
        downloads=folder / "downloads",
    )

    def add(window: str) -> int:
        run = registry.log_run(
            window, f"train {window}", metrics={}, parameters={}, tags={}, files={}
        )
        return registry.register(
            window,
            run,
            {
                "recipe": "logistic/all",
                "window": window,
                "trained_through": window,
                "val_auc": "0.75",
            },
        )

    return registry, add


@pytest.fixture(params=[in_memory, in_mlflow], ids=["memory", "mlflow"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Callable[[str], int]]:
    return request.param(tmp_path)


def seen(registry: Any) -> list[tuple[Any, ...]]:
    return [
        (
            facts.version,
            facts.status,
            facts.aliases,
            facts.key,
            facts.recipe,
            facts.window,
            facts.trained_through,
            facts.val_auc,
        )
        for facts in registry.versions()
    ]


def test_versions_move_as_mlflow_moves_them(shelf: tuple[Any, Callable[[str], int]]) -> None:
    """Promote, reject, promote again, come too late, go back: aliases, tags and answers after every
    step are those written here."""
    registry, add = shelf
    assert registry.versions() == ()
    assert registry.production() is None
    assert [add("w1"), add("w2"), add("w3")] == [1, 2, 3]
    facts = ("logistic/all", "w1", "w1", 0.75)
    assert seen(registry)[0] == (1, "candidate", (), "w1", *facts)
    assert registry.promote(1, instead_of=None, reason="first")
    registry.reject(2, reason="worse")
    assert registry.promote(3, instead_of=1, reason="better")
    assert not registry.promote(2, instead_of=1, reason="too late")
    assert [facts[:3] for facts in seen(registry)] == [
        (1, "archived", ("previous",)),
        (2, "rejected", ()),
        (3, "production", ("production",)),
    ]
    registry.reject(3, reason="live")
    assert registry.promote(3, instead_of=1, reason="again")
    assert (registry.production(), registry.previous()) == (3, 1)
    assert not registry.roll_back(1, instead_of=2, reason="not live")
    assert registry.roll_back(1, instead_of=3, reason="worse")
    assert [facts[:3] for facts in seen(registry)] == [
        (1, "production", ("production",)),
        (2, "rejected", ()),
        (3, "archived", ()),
    ]
    assert (registry.production(), registry.previous()) == (1, None)
    assert not registry.put_back(3, instead_of=2, previous=None)
    for previous in (2, None):
        assert registry.put_back(3, instead_of=1, previous=previous)
        assert (registry.production(), registry.previous()) == (3, previous)
    with pytest.raises(RegistryError, match="versions 1, 2, 3"):
        registry.promote(7, instead_of=3, reason="no such version")
