"""The tree as the rules of the house see it: files, imports, names."""

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


@cache
def project_files() -> tuple[Path, ...]:
    """Every file that is, or would be, committed."""
    listed = None
    if shutil.which("git") and (ROOT / ".git").exists():
        command = [
            "git",
            "-c",
            f"safe.directory={ROOT}",
            "-C",
            str(ROOT),
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(
            "\0"
        )
    if listed is None:
        made = (
            ".venv",
            "var",
            "site",
            "generated",
            "__pycache__",
            ".git",
            ".pytest_cache",
            ".mypy_cache",
            ".ruff_cache",
            ".hypothesis",
        )
        listed = [
            str(path.relative_to(ROOT))
            for path in ROOT.rglob("*")
            if not set(path.relative_to(ROOT).parts) & set(made)
        ]
    return tuple(sorted(ROOT / name for name in listed if name and (ROOT / name).is_file()))


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
    """What `make` can be asked for."""
    return set(
        re.findall(
            r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE
        )
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

    @property
    def room(self) -> str:
        """The name within its package; `__init__` for the package itself."""
        return self.name.partition(".")[2] or "__init__"


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
    """Dotted names that a module imports anywhere, but for annotations only (`if
    TYPE_CHECKING`)."""
    tree = module.tree
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            skipped |= {id(inner) for inner in ast.walk(node)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.name.split(".")
                above = parts[: len(parts) - node.level + (module.path.name == "__init__.py")]
                base = ".".join((*above, *([base] if base else [])))
            found.add(base)
            # `from closedloop import drift` imports a module as much as `import closedloop.drift`
            # does.
            found |= {
                f"{base}.{alias.name}"
                for alias in node.names
                if f"{base}.{alias.name}" in {one.name for one in modules()}
            }
    return found
