"""What import-linter cannot say about imports; pyproject.toml has the layers and the doors."""

from __future__ import annotations

import sys
import tomllib

import pytest

from tests.house.tree import ROOT, Module, imports, modules

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
    """Decisions use the standard library only, and nothing in it that makes two runs differ or
    touches the world."""
    top_level = {name.split(".")[0] for name in imports(module)}
    assert not top_level - set(sys.stdlib_module_names) - {"closedloop"}
    assert not top_level & TOUCHING_THE_WORLD


def test_every_package_has_its_place_among_the_layers() -> None:
    """Each package in src/closedloop is a layer in pyproject.toml, so import-linter checks it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = {name for layer in contracts[0]["layers"] for name in layer.split(" | ")}
    packages = {
        ".".join(module.name.split(".")[:2])
        for module in modules()
        if module.name.startswith("closedloop.")
    }
    assert packages <= layers
