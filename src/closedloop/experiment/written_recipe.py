"""A recipe as text of loop.toml, and appended to it: comments and order of the file stay."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from closedloop.errors import UseCaseError
from closedloop.training.learners import check_recipes
from closedloop.use_case.loop_toml import load_use_case, parse_use_case
from closedloop.use_case.recipe import Recipe
from closedloop.use_case.toml_text import quote, write_value


def choose_name(recipe: str, taken: Collection[str]) -> str:
    """A name for what a search made of a recipe: `lightgbm_tuned`, or with a number behind."""
    stem = re.sub(r"_tuned(_\d+)?$", "", recipe)[:48] + "_tuned"
    numbered = (f"{stem}_{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (stem, *numbered) if name not in taken)


def write_recipe(name: str, recipe: Recipe, remark: str) -> str:
    """The tables `[recipes.NAME]`, with a remark above them."""
    lines = [
        f"# {' '.join(remark.split())}",
        f"[recipes.{name}]",
        f"learner = {quote(str(recipe.learner))}",
        f"[recipes.{name}.parameters]",
        *(f"{_key(key)} = {write_value(value)}" for key, value in recipe.parameters.items()),
    ]
    return "\n".join(lines) + "\n"


def append_recipe(path: Path, name: str, block: str) -> None:
    """Append a block of `write_recipe` to a loop.toml, which is read with it first, and after.

    Raises UseCaseError when the file would not be read with it, or cannot be written.
    """
    before = path.read_bytes().decode()
    text = ("" if before.endswith("\n") or not before else "\n") + "\n" + block
    if "\r\n" in before:
        text = text.replace("\n", "\r\n")
    try:
        content: Mapping[str, Any] = tomllib.loads(before + text)
        check_recipes(parse_use_case(dict(content), path))
        with path.open("ab") as file:
            file.write(text.encode())
    except (tomllib.TOMLDecodeError, OSError) as error:
        raise UseCaseError(
            where=str(path),
            wanted=f"a file that [recipes.{name}] can be appended to",
            got=str(error),
            then="write the recipe into it by hand",
        ) from error
    load_use_case(path)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else quote(name)
