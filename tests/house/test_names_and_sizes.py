"""How things are named and how large they grow."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house.tree import ROOT, Module, modules, project_files

# Names that say nothing about what is inside.
EMPTY_WORDS = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "misc",
    "base",
    "manager",
    "handler",
    "processor",
}
MOST_LINES = 350
TEST_FILES = [
    path for path in project_files() if path.suffix == ".py" and path.is_relative_to(ROOT / "tests")
]


def words(name: str) -> set[str]:
    """snake_case and CamelCase, taken apart."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)}


def _test_id(path: Path) -> str:
    return str(path.relative_to(ROOT / "tests"))


@pytest.mark.parametrize(
    "path",
    [one for one in project_files() if one.suffix == ".py"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_names_say_what_is_inside(path: Path) -> None:
    """No module, folder or class has a name that would suit any content."""
    for part in path.relative_to(ROOT).with_suffix("").parts:
        assert not words(part) & EMPTY_WORDS, f"{part}: name it after what it holds"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            assert not words(node.name) & EMPTY_WORDS, (
                f"{path.name}:{node.lineno} class {node.name}: name it after what it is"
            )


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_a_file_is_one_room(module: Module) -> None:
    """No module outgrows what can be read in one go; one that wants more wants a second noun."""
    lines = len(module.path.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES, (
        f"{module.path.name} has {lines} lines, {MOST_LINES} at most: part it by what it is about"
    )


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_everything_public_says_what_it_promises(module: Module) -> None:
    """Every module has a docstring, and every public function and class of src/closedloop and
    flows."""
    content = module.path.read_text(encoding="utf-8").strip()
    assert not content or ast.get_docstring(module.tree), (
        f"{module.path.name}: no docstring of its own"
    )
    # The messages of the API describe themselves by their fields.
    if module.package != "api":
        named = [
            node
            for node in module.tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        ]
        silent = [
            node.name
            for node in named
            if not node.name.startswith("_") and not ast.get_docstring(node)
        ]
        assert not silent, f"{module.path.name}: no docstring: {', '.join(silent)}"


@pytest.mark.parametrize("path", TEST_FILES, ids=_test_id)
def test_every_test_says_what_it_proves(path: Path) -> None:
    """Each test has a docstring, and each skip a reason, so that whoever sees it fail knows what is
    lost."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test_"
        ):
            assert ast.get_docstring(node), (
                f"{path.name}:{node.lineno} {node.name}: say in a sentence what it proves"
            )
        called = (
            ast.unparse(node.func)
            if isinstance(node, ast.Call)
            else ast.unparse(node)
            if isinstance(node, ast.Attribute)
            else ""
        )
        if isinstance(node, ast.Call) and called in {"pytest.skip", "pytest.xfail"}:
            assert node.args or node.keywords, f"{path.name}:{node.lineno} skips without a reason"
        if isinstance(node, ast.Call) and called in {
            "pytest.mark.skip",
            "pytest.mark.skipif",
            "pytest.mark.xfail",
        }:
            assert any(word.arg == "reason" for word in node.keywords), (
                f"{path.name}:{node.lineno} skips without a reason"
            )


@pytest.mark.parametrize("path", TEST_FILES, ids=_test_id)
def test_tests_do_not_mock(path: Path) -> None:
    """A test that mocks our own code tests the mock: a small working fake takes its place."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = (
            {alias.name for alias in node.names}
            if isinstance(node, ast.Import | ast.ImportFrom)
            else set()
        )
        source = node.module if isinstance(node, ast.ImportFrom) else ""
        assert not names & {"unittest.mock", "mock"}, (
            f"{path.name} imports a mock: use a small working fake"
        )
        assert source != "unittest.mock", f"{path.name} imports a mock: use a small working fake"
