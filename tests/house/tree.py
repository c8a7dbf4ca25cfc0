"""The tree as the rules of the house see it: files, modules, imports, make targets."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"closedloop": ROOT / "src" / "closedloop", "flows": ROOT / "flows", "api": ROOT / "api"}
# Folders that are made here and never committed, for a tree without git.
_GENERATED = {
    ".venv",
    "var",
    "generated",
    "site",
    "__pycache__",
    ".git",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".hypothesis",
}


@cache
def project_files() -> tuple[Path, ...]:
    """Every file that is, or would be, committed."""
    if shutil.which("git") and (ROOT / ".git").exists():
        words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *words]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        paths = [ROOT / name for name in listed.split("\0") if name]
    else:
        paths = [
            path for path in ROOT.rglob("*") if not set(path.relative_to(ROOT).parts) & _GENERATED
        ]
    return tuple(sorted(path for path in paths if path.is_file()))


def texts() -> list[tuple[str, str]]:
    """Path and content of every text file of the project."""
    found = []
    for path in project_files():
        try:
            found.append((str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return found


def make_targets() -> set[str]:
    """The targets of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][a-z-]*):", makefile, flags=re.MULTILINE))


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the root of the project, its text and its syntax."""

    path: str
    text: str
    tree: ast.Module

    @property
    def of_tests(self) -> bool:
        return self.path.startswith("tests/")


@cache
def python_files() -> tuple[Source, ...]:
    """Every Python file of the project, tests included."""
    return tuple(
        Source(path, text, ast.parse(text)) for path, text in texts() if path.endswith(".py")
    )


@dataclass(frozen=True)
class Module:
    """One module of the project: its dotted name, its file and its syntax."""

    name: str
    path: Path

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(encoding="utf-8"))

    @property
    def package(self) -> str:
        return self.name.split(".")[0]


@cache
def modules() -> tuple[Module, ...]:
    """Every module of src/closedloop, flows and api."""
    found = []
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            dotted = ".".join((package, *(part for part in parts if part != "__init__")))
            found.append(Module(dotted, path))
    return tuple(found)


def imports(module: Module) -> set[str]:
    """The dotted names of the modules that a module imports, anywhere in its file."""
    found: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module.name}: import by the full name"
            found.add(str(node.module))
    return found
