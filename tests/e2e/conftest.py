"""What is served in several files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.served_shop import CONTENT, Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Version 1 is in production, version 2 is registered."""
    (tmp_path / "loop.toml").write_text(CONTENT, encoding="utf-8")
    found = Shop(tmp_path)
    assert [found.add(1), found.add(2)] == [1, 2]
    found.registry.promote(1, instead_of=None, reason="first")
    return found
