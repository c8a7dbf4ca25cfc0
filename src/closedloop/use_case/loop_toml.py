"""Reads loop.toml, which describes a use case in one file, into a UseCase.

Unknown keys are refused with the nearest known name; every value is checked when it is read.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from closedloop.decisions.fingerprint import describe
from closedloop.errors import UseCaseError
from closedloop.use_case.contract import Column, Slice, UseCase
from closedloop.use_case.fitting_parts import check_names, check_recipes
from closedloop.use_case.golden import load_golden
from closedloop.use_case.loop_file import LoopFile
from closedloop.use_case.recipe import Recipe, with_code

# What changes no decision is no part of the fingerprint.
_NOT_DECIDING = ("description", "schedule", "card", "serving", "alerts", "housekeeping")
# Tables that hold a table for each name.
_NAMED: dict[str, type] = {"columns": Column, "recipes": Recipe}
_FILE: TypeAdapter[LoopFile] | None = None


def _adapter() -> TypeAdapter[LoopFile]:
    """The strict reader of the file, built on first use because building it is slow."""
    global _FILE
    if _FILE is None:
        _FILE = TypeAdapter(LoopFile)
    return _FILE


def load_use_case(path: Path | str) -> UseCase:
    """Read loop.toml.

    Raises UseCaseError when the file is missing or not TOML, or has an unknown key or an invalid
    value.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "loop.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UseCaseError(
            where="use case",
            wanted="a loop.toml file",
            got=f"nothing at {path}",
            then="name a file with --use-case, "
            "or write one with: closedloop init TABLE --target COLUMN",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UseCaseError(
            where=str(path), wanted="a TOML file", got=str(error), then="fix that line"
        ) from None
    return parse_use_case(content, path)


def parse_use_case(content: dict[str, Any], path: Path) -> UseCase:
    """Check the content of the loop.toml at `path`; raises UseCaseError as `load_use_case` does."""
    _refuse_unknown_keys(content, LoopFile, str(path), "")
    try:
        file = _adapter().validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        got = (
            "nothing"
            if first["type"] == "missing"
            else json.dumps(first.get("input"), default=str)[:120]
        )
        raise UseCaseError(
            where=f"{path}: {where}",
            wanted=first["msg"].removeprefix("Value error, "),
            got=got,
            then="fix it in the file",
        ) from None
    check_names(file, path)
    check_recipes(file, path)
    recipes = {name: with_code(recipe, path.parent) for name, recipe in file.recipes.items()}
    described = {key: value for key, value in describe(file).items() if key not in _NOT_DECIDING}
    described["source"] = {
        key: value for key, value in described["source"].items() if key not in ("root", "url")
    }
    golden = load_golden(file.golden, path, file.columns, file.target.classes)
    described["golden"] = describe(golden)
    if recipes:
        described["recipes"] = describe(recipes)
    fingerprint = hashlib.sha256(
        json.dumps(described, sort_keys=True, default=str).encode()
    ).hexdigest()[:12]
    values = {found.name: getattr(file, found.name) for found in fields(file)}
    return UseCase(
        **{
            **values,
            "columns": MappingProxyType(file.columns),
            "recipes": MappingProxyType(recipes),
            "golden": golden,
            "path": _lasting(path),
            "fingerprint": fingerprint,
            "content": content,
        }
    )


def _lasting(path: Path) -> Path:
    """The path that leads to the file from anywhere, tomorrow too.

    Kubernetes mounts files as links into a folder of this moment, such as `..2026_11_29_09_30`, and
    replaces that folder when one of them changes: there, the link is the name that stays.
    """
    found = path.resolve()
    momentary = any(part.startswith("..") for part in found.parts)
    return path.absolute() if momentary else found


def _refuse_unknown_keys(content: Any, kind: Any, path: str, where: str) -> None:
    """Compare the tables of the file with the dataclasses that they become."""
    if not isinstance(content, dict) or not is_dataclass(kind):
        return
    known = _types_of(kind)  # type: ignore[arg-type]  # typeshed: dataclasses may be unhashable; these are classes
    for key, value in content.items():
        inside = f"{where}.{key}" if where else key
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            then = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
            raise UseCaseError(where=path, wanted="a known key", got=inside, then=then)
        if key in _NAMED and kind is LoopFile and isinstance(value, dict):
            for name, table in value.items():
                _refuse_unknown_keys(table, _NAMED[key], path, f"{inside}.{name}")
        elif key == "slices" and isinstance(value, list):
            for number, part in enumerate(value):
                _refuse_unknown_keys(part, Slice, path, f"{inside}[{number}]")
        else:
            _refuse_unknown_keys(value, known[key], path, inside)


@cache
def _types_of(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {found.name: hints[found.name] for found in fields(kind)}
