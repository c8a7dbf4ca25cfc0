"""Several use cases that live side by side: in one stack, in one process."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from closedloop.errors import UseCaseError
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import load_use_case

FOLDER = "/use-cases"
_WHERE = "CLOSEDLOOP_USE_CASES"


def prefix_of(name: str) -> str:
    """Before every path of a use case, in the address of an API that serves several."""
    return f"{FOLDER}/{quote(name)}"


def load_use_cases(paths: Iterable[Path | str]) -> tuple[UseCase, ...]:
    """Read each loop.toml.

    Raises UseCaseError when two have the same name: their deployments, models and decisions would
    mix.
    """
    found: dict[str, UseCase] = {}
    for path in paths:
        use_case = load_use_case(path)
        if use_case.name in found:
            raise UseCaseError(
                where=_WHERE,
                wanted="use cases with different names",
                got=f"{use_case.name} in {found[use_case.name].path} and in {use_case.path}",
                then="rename one of them",
            )
        found[use_case.name] = use_case
    return tuple(found.values())


def refuse_mixed_code(use_cases: Iterable[UseCase]) -> None:
    """Refuse code of two use cases in modules of one name, for one process.

    Python would import the first for both. Raises UseCaseError.
    """
    folders: dict[str, Path] = {}
    for use_case in use_cases:
        folder = use_case.path.parent
        for recipe in use_case.recipes.values():
            module = (recipe.estimator or "").partition(":")[0].partition(".")[0]
            if not ((folder / module).is_dir() or (folder / f"{module}.py").is_file()):
                continue  # of a library
            if module and folders.setdefault(module, folder) != folder:
                raise UseCaseError(
                    where=f"{use_case.path}: recipes",
                    wanted="modules of different names where one process serves them",
                    got=f"{module} in {folders[module]} and in {folder}",
                    then="rename one, or run one of the two by itself, with --use-case PATH",
                )
