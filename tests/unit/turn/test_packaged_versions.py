"""What is packaged here is what another installation would load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from closedloop.errors import ModelError
from tests.turned_loop import write_loop

pytestmark = pytest.mark.slow


def test_a_model_that_others_would_refuse_is_not_registered(
    tmp_path: Path,
    make_mlflow_tables: Callable[[Path], None],
) -> None:
    """Its trees could not be checked before they are asked elsewhere, or after an upgrade here."""
    turned = write_loop(tmp_path / "shop", 2, recipe="xgboost", history="all")
    with (tmp_path / "shop" / "loop.toml").open("a", encoding="utf-8") as file:
        file.write('[recipes.xgboost]\nparameters = { booster = "dart" }\n')
    make_mlflow_tables(tmp_path / "shop" / "home")
    with pytest.raises(ModelError, match="got dart"):
        turned.train("2026-02")
    assert turned.open().registry.versions() == ()
