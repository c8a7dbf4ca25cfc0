"""Reads loop.toml, which describes a use case in one file, into a UseCase.

Unknown keys are refused with the nearest known name; every value is checked when it is read.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from closedloop.decisions.fingerprint import ADDED_LATER, describe
from closedloop.decisions.policy import Policy
from closedloop.errors import UseCaseError
from closedloop.use_case.alerts import Alerts
from closedloop.use_case.contract import (
    AnswerRule,
    Card,
    Column,
    Labels,
    Serving,
    Slice,
    Target,
    Training,
    UseCase,
)
from closedloop.use_case.golden import load_golden
from closedloop.use_case.housekeeping import Housekeeping
from closedloop.use_case.recipe import LEARNERS, Recipe, find_recipe, with_code
from closedloop.use_case.schedule import Schedule
from closedloop.use_case.source import Source


@dataclass(frozen=True)
class _File:
    """The file as written; UseCase adds its path."""

    name: str
    """Names the model in the registry: letters, digits, - and _."""
    source: Source
    """Where the windows are."""
    target: Target
    """What is predicted."""
    columns: dict[str, Column]
    """The contract, one table a feature, in the order in which the model sees them."""
    description: str = ""
    """One sentence for people."""
    key: str | None = None
    """Column that names a row, once in a window; ties predictions to labels."""
    golden: str | None = None
    """JSON file beside loop.toml with golden cases."""
    slices: tuple[Slice, ...] = ()
    """Parts of the rows that are compared on their own."""
    training: Training = field(default_factory=Training)
    """Which candidates are fitted."""
    recipes: dict[str, Recipe] = field(default_factory=dict, metadata=ADDED_LATER)
    """Recipes of your own, one table each."""
    labels: Labels = field(default_factory=Labels)
    """When labels come."""
    schedule: Schedule = field(default_factory=Schedule)
    """When the loop looks by itself."""
    policy: Policy = field(default_factory=Policy)
    """Every number that can change a decision."""
    card: Card = field(default_factory=Card)
    """What people say about the models."""
    decision: AnswerRule = field(default=AnswerRule(), metadata=ADDED_LATER)
    """Which class is answered; for two classes."""
    alerts: Alerts = field(default_factory=Alerts)
    """Whom to tell what."""
    housekeeping: Housekeeping = field(default_factory=Housekeeping)
    """What to delete on a schedule."""
    serving: Serving = field(default=Serving(), metadata=ADDED_LATER)
    """How the API serves."""


# What changes no decision is no part of the fingerprint.
_NOT_DECIDING = ("description", "schedule", "card", "serving", "alerts", "housekeeping")
# Tables that hold a table for each name.
_NAMED: dict[str, type] = {"columns": Column, "recipes": Recipe}
_FILE: TypeAdapter[_File] | None = None


def _adapter() -> TypeAdapter[_File]:
    """The strict reader of the file, built on first use because building it is slow."""
    global _FILE
    if _FILE is None:
        _FILE = TypeAdapter(_File)
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
    _refuse_unknown_keys(content, _File, str(path), "")
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
    _check_names(file, path)
    _check_recipes(file, path)
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
            "path": path.resolve(),
            "fingerprint": fingerprint,
            "content": content,
        }
    )


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
        if key in _NAMED and kind is _File and isinstance(value, dict):
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


def _check_names(file: _File, path: Path) -> None:
    """Check the name, and that key, target and slices name the right columns."""
    if not file.columns:
        raise UseCaseError(
            where=f"{path}: columns",
            wanted="at least one feature column",
            got="none",
            then="add a [columns.NAME] table",
        )
    if not file.name.replace("_", "").replace("-", "").isalnum():
        raise UseCaseError(
            where=f"{path}: name",
            wanted="letters, digits, - and _ only",
            got=repr(file.name),
            then="choose another name",
        )
    for name in (file.target.column, file.key):
        if name in file.columns:
            raise UseCaseError(
                where=f"{path}: columns.{name}",
                wanted="features only",
                got="the target or the key among the features",
                then=f"remove [columns.{name}]",
            )
    cost, classes = file.policy.promotion.cost, file.target.classes
    if cost and len(cost) != len(classes):
        raise UseCaseError(
            where=f"{path}: policy.promotion.cost",
            wanted=f"a row and a column for each of {len(classes)} classes",
            got=f"{len(cost)} rows",
            then="write a row for each true class, in the order of classes",
        )
    if file.decision != AnswerRule() and len(classes) != 2:
        raise UseCaseError(
            where=f"{path}: decision",
            wanted="two classes: of more, the likeliest is the answer",
            got=f"{len(classes)} classes",
            then="remove [decision]",
        )
    if file.decision != AnswerRule() and file.policy.promotion.measure == "cost":
        raise UseCaseError(
            where=f"{path}: decision",
            wanted='none with measure = "cost": the answer of the least expected cost is given',
            got="a table [decision]",
            then="remove [decision], or let another measure decide",
        )
    if file.decision.choose == "cost" and not cost:
        raise UseCaseError(
            where=f"{path}: decision.choose",
            wanted="cost under [policy.promotion], such as [[0, 1], [5, 0]]",
            got="none",
            then="write what each answer costs in each true class",
        )
    hidden = [name for name, column in file.columns.items() if not column.record]
    if hidden and file.schedule.source == "records":
        raise UseCaseError(
            where=f"{path}: schedule.source",
            wanted='"windows", because records lack a column that models need',
            got=f'"records" and record = false of {", ".join(hidden)}',
            then="let the schedule look at your own windows, or remove record = false",
        )
    for part in file.slices:
        if part.column not in file.columns:
            near = difflib.get_close_matches(part.column, file.columns, n=1)
            raise UseCaseError(
                where=f"{path}: slice {part.name}",
                wanted="a column of [columns]",
                got=part.column,
                then=f"did you mean {near[0]}?" if near else "name one of the feature columns",
            )
        if bool(part.values) != (file.columns[part.column].type == "categorical"):
            raise UseCaseError(
                where=f"{path}: slice {part.name}",
                wanted="values for a category, minimum/maximum for a numeric one",
                got=f"the other for {part.column}",
                then="fix the slice",
            )


def _check_recipes(file: _File, path: Path) -> None:
    """Check that each recipe that is named is a learner, or a table with one."""
    for name in (*file.recipes, *file.training.recipes):
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name) or name == "baseline":
            raise UseCaseError(
                where=f"{path}: recipes.{name}",
                wanted="letters, digits, - and _ only, and not baseline, which is ours",
                got=repr(name),
                then="choose another name",
            )
        try:
            find_recipe(name, file.recipes)
        except ValueError:
            near = difflib.get_close_matches(name, {*LEARNERS, *file.recipes} - {name}, n=1)
            raise UseCaseError(
                where=f"{path}: recipes",
                wanted=f"{', '.join(LEARNERS)}, or a recipe of [recipes] with a learner",
                got=repr(name),
                then=f"did you mean {near[0]}?"
                if near
                else f'add [recipes.{name}] with learner = "..."',
            ) from None
