"""How things are named and how large they grow."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.house.tree import Source, python_files

MOST_LINES = 300
# Words that say nothing about what is inside.
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
# Names of files that could hold anything.
VAGUE_FILES = {
    "announcing",
    "answering",
    "attached",
    "diary",
    "fetching",
    "forgetting",
    "gathering",
    "judging",
    "kept",
    "loop",
    "measures",
    "memo",
    "parts",
    "proposing",
    "proving",
    "running",
    "served",
    "turning",
    "unlabelled",
    "unread",
    "watch",
    "wording",
}
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@cache
def _program() -> list[Source]:
    """Read by the process that runs these tests, not by each that collects them."""
    return [source for source in python_files() if not source.of_tests]


@cache
def _tests() -> list[Source]:
    return [source for source in python_files() if source.of_tests]


@pytest.fixture(scope="module", autouse=True)
def forget_what_was_read() -> Iterator[None]:
    """The trees of all files fill 170 MB, and nobody asks for them later."""
    yield
    _program.cache_clear()
    _tests.cache_clear()


def _words(name: str) -> set[str]:
    """snake_case and CamelCase, taken apart."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)}


def _public(source: Source) -> Iterator[Definition]:
    """The public functions and classes of a file, and the public methods of those classes."""
    waiting: list[ast.stmt] = list(source.tree.body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            waiting += node.body if isinstance(node, ast.ClassDef) else []


def test_files_and_classes_say_what_is_inside() -> None:
    """No file, folder or class has a name that would suit any content."""
    vague = [
        source.path
        for source in python_files()
        if Path(source.path).stem.removeprefix("test_") in VAGUE_FILES
        or _words(source.path) & EMPTY_WORDS
    ]
    vague += [
        f"{source.path}:{node.lineno} class {node.name}"
        for source in python_files()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and _words(node.name) & EMPTY_WORDS
    ]
    assert not vague, "\n".join(vague)


def test_no_variable_is_called_one() -> None:
    """A loop variable or a parameter is named after what it holds."""
    named = [
        f"{source.path}:{node.lineno}"
        for source in python_files()
        for node in ast.walk(source.tree)
        if (isinstance(node, ast.arg) and node.arg == "one")
        or (isinstance(node, ast.Name) and node.id == "one" and isinstance(node.ctx, ast.Store))
    ]
    assert not named, "\n".join(named)


def test_a_file_is_one_room() -> None:
    """No Python file is longer than can be read in one go: split it by what it is about."""
    lengths = [(len(source.text.splitlines()), source.path) for source in python_files()]
    long = [f"{lines} {path}" for lines, path in sorted(lengths) if lines > MOST_LINES]
    assert not long, "\n".join(long)


def test_ruff_formats_everything_but_the_tables_of_the_rules() -> None:
    """Only the tables in tests/spec, a row a situation, keep a layout of their own."""
    mark = "fmt: " + "skip"
    skipping = [source.path for source in python_files() if mark in source.text]
    assert [path for path in skipping if not path.startswith("tests/spec/")] == []


def test_everything_public_says_what_it_promises() -> None:
    """Every module has a docstring, and so has every public function and class at the top of a
    module; only the API's messages describe themselves by their fields."""
    silent = [
        source.path
        for source in _program()
        if source.text.strip() and not ast.get_docstring(source.tree)
    ]
    silent += [
        f"{source.path}:{node.lineno} {node.name}"
        for source in _program()
        if not source.path.startswith("api/")
        for node in _public(source)
        if node in source.tree.body and not ast.get_docstring(node)
    ]
    assert not silent, "\n".join(silent)


def test_a_promise_is_one_line() -> None:
    """The first sentence of a public docstring stands alone on the first line."""
    long = [
        f"{source.path}:{node.lineno} {node.name}"
        for source in _program()
        for node in _public(source)
        if "\n" in (ast.get_docstring(node) or "").split("\n\n")[0]
    ]
    assert not long, "\n".join(long)


def test_every_test_says_what_it_proves() -> None:
    """Each test has a docstring, and each skip a reason, so that a failure tells what is lost."""
    silent = []
    for source in _tests():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if node.name.startswith("test_") and not ast.get_docstring(node):
                    silent.append(f"{source.path}:{node.lineno} {node.name}: no docstring")
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                by_mark = re.fullmatch(r"pytest\.mark\.(skip|skipif|xfail)", called)
                without = by_mark and not any(word.arg == "reason" for word in node.keywords)
                if called in {"pytest.skip", "pytest.xfail"}:
                    without = not (node.args or node.keywords)
                if without:
                    silent.append(f"{source.path}:{node.lineno} skips without a reason")
    assert not silent, "\n".join(silent)


def test_tests_do_not_mock() -> None:
    """A test that mocks our own code tests the mock: a small working fake takes its place."""
    mocking = [
        f"{source.path}:{node.lineno}"
        for source in _tests()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        if "mock" in ast.unparse(node).replace(",", " ").replace(".", " ").split()
    ]
    assert not mocking, "\n".join(mocking)
