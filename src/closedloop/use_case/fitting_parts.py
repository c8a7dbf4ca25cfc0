"""Checks that the parts of a loop.toml fit each other: names of columns, classes and recipes."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from closedloop.errors import UseCaseError
from closedloop.use_case.contract import AnswerRule
from closedloop.use_case.loop_file import LoopFile
from closedloop.use_case.recipe import LEARNERS, find_recipe


def check_names(file: LoopFile, path: Path) -> None:
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
    _check_group(file, path)
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


def _check_group(file: LoopFile, path: Path) -> None:
    """Check that windows can tell the groups of their rows."""
    if file.group is None:
        return
    if file.group in (file.target.column, file.source.time_column):
        raise UseCaseError(
            where=f"{path}: group",
            wanted="a column that windows keep, such as customer_id",
            got=f"{file.group}, the {'target' if file.group == file.target.column else 'time'}",
            then="name another column, such as one with the day of the row",
        )
    recorded = file.group in file.columns or file.group == file.key
    if file.schedule.source == "records" and not recorded:
        raise UseCaseError(
            where=f"{path}: schedule.source",
            wanted='"windows", because records hold features and keys only',
            got=f'"records", and group = "{file.group}" is neither',
            then="let the schedule look at your own windows, or remove group",
        )


def check_recipes(file: LoopFile, path: Path) -> None:
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
