"""Importing a module does nothing: it reads no file, environment or clock, and costs no second."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import Module, modules

HEAVY = [
    "evidently",
    "mlflow",
    "prefect",
    "lightgbm",
    "duckdb",
    "matplotlib",
    "skops",
    "onnx",
    "onnxruntime",
]
# The command line answers at once: before it knows the command it loads none of these either.
HEAVY_FOR_A_COMMAND = [
    *HEAVY,
    "sklearn",
    "scipy",
    "pandas",
    "numpy",
    "sqlalchemy",
    "alembic",
    "pydantic",
    "fastapi",
]

# The environment, files and the clock, by their names in Python.
OF_THE_WORLD = {
    "environ",
    "getenv",
    "open",
    "cwd",
    "home",
    "now",
    "today",
    "perf_counter",
    "monotonic",
}


def _import_in(folder: Path, names: list[str], watched: list[str]) -> tuple[list[str], list[str]]:
    """Import modules in a new Python with `folder` as home and working directory: (watched
    libraries loaded, files made)."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    script = (
        "import importlib, json, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(json.dumps([name for name in {watched!r} if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == 1, f"importing printed something: {lines[:-1]}"
    return json.loads(lines[0]), sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_importing_makes_no_file_and_loads_no_heavy_library(tmp_path: Path) -> None:
    """All of src/closedloop, imported together, prints nothing, leaves no file behind and loads
    none of the slow libraries."""
    names = [
        module.name
        for module in modules()
        if module.package == "closedloop" and not module.name.endswith(".__main__")
    ]
    loaded, files = _import_in(tmp_path, names, HEAVY)
    assert loaded == []
    assert files == []


def test_the_command_line_starts_without_the_libraries(tmp_path: Path) -> None:
    """`closedloop --help` and a mistyped command answer without waiting for pandas or
    scikit-learn."""
    loaded, files = _import_in(tmp_path, ["closedloop.cli.app"], HEAVY_FOR_A_COMMAND)
    assert loaded == []
    assert files == []


def _at_import(tree: ast.Module) -> list[ast.AST]:
    """Every node that runs at import: no bodies of functions, of TYPE_CHECKING or of __main__."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        found.append(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [
                *node.decorator_list,
                *node.args.defaults,
                *(default for default in node.args.kw_defaults if default),
            ]
        elif isinstance(node, ast.If) and any(
            word in ast.dump(node.test) for word in ("TYPE_CHECKING", "__main__")
        ):
            continue
        elif not isinstance(node, ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return found


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_nothing_is_done_at_import(module: Module) -> None:
    """The top of a module defines names; it calls nothing for its effect, opens nothing, and reads
    neither the environment nor the clock."""
    for node in _at_import(module.tree):
        line = f"{module.path.name}:{getattr(node, 'lineno', '?')}"
        effect = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        assert not effect, f"{line} calls something for its effect: move it into a function"
        assert not isinstance(node, ast.For | ast.While | ast.With), (
            f"{line} does work at import: move it into a function"
        )
        asked = (
            node.attr
            if isinstance(node, ast.Attribute)
            else node.id
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
            else ""
        )
        assert asked not in OF_THE_WORLD, (
            f"{line} uses {asked} at import: ask for it when it is needed"
        )
