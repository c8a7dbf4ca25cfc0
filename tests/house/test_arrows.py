"""What import-linter cannot say of who may import what; pyproject.toml has the layers and the doors."""

from __future__ import annotations

import sys

import pytest

from tests.house.tree import Module, imports, modules

DECISIONS = [module for module in modules() if module.name.startswith("closedloop.decisions")]
TOUCHING_THE_WORLD = {
    "random",
    "time",
    "datetime",
    "os",
    "pathlib",
    "io",
    "socket",
    "subprocess",
    "secrets",
    "uuid",
    "threading",
    "logging",
}


@pytest.mark.parametrize("module", DECISIONS, ids=lambda module: module.name)
def test_decisions_need_no_library_no_clock_and_no_chance(module: Module) -> None:
    """Decisions use the standard library only, and of it nothing that makes two runs differ or touches the world."""
    top_level = {name.split(".")[0] for name in imports(module)}
    assert not top_level - set(sys.stdlib_module_names) - {"closedloop"}
    assert not top_level & TOUCHING_THE_WORLD
    assert all(name.startswith("closedloop.decisions") for name in imports(module) if name.startswith("closedloop"))
