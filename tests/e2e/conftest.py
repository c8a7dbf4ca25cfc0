"""What is served in several files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.served_shop import CONTENT, Shop


@pytest.fixture
def shop(tmp_path: Path, make_mlflow_tables: Callable[[Path], None]) -> Shop:
    """Version 1 is in production, version 2 is registered."""
    (tmp_path / "loop.toml").write_text(CONTENT, encoding="utf-8")
    make_mlflow_tables(tmp_path / "home")
    found = Shop(tmp_path)
    assert [found.add(1), found.add(2)] == [1, 2]
    found.registry.promote(1, instead_of=None, reason="first")
    return found
