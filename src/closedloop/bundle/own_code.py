"""Code of the user's own: the types that loop.toml trusts, and the folder that they come from.

What may be imported and rebuilt is said by the loop.toml here, never by a version's files.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from closedloop.errors import ModelError
from closedloop.use_case.contract import UseCase

_TRUSTED: dict[str, set[str]] = {}


def allow_own_code(use_case: UseCase) -> None:
    """From now on this process rebuilds the types that the use case trusts.

    Their modules are found beside its loop.toml.
    """
    own = [recipe for recipe in use_case.recipes.values() if recipe.estimator is not None]
    if own:
        allow(use_case.path.parent, [name for recipe in own for name in recipe.trusted])


def allow(folder: Path, types: Iterable[str]) -> None:
    """As `allow_own_code`, for a process that knows folder and types only."""
    # Last, so that nothing of ours or of a library is hidden by a file beside loop.toml.
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    _TRUSTED.setdefault(str(folder), set()).update(types)


def refuse_own_code_of_others(name: str, theirs: UseCase, ours: UseCase) -> None:
    """Raise ModelError when a version's recipe names code that the loop.toml here does not name.

    Whoever can write to the registry would choose what is imported and called.
    """
    recipe = theirs.recipes.get(name)
    known = {recipe.estimator for recipe in ours.recipes.values()}
    if recipe is not None and recipe.estimator is not None and recipe.estimator not in known:
        raise ModelError(
            where=f"recipe {name} of the version",
            wanted="an estimator that loop.toml names here",
            got=recipe.estimator,
            then=f"keep [recipes.{name}] in loop.toml while a version of it may be fitted again",
        )


def own_types() -> tuple[str, ...]:
    """The types that this process was told to trust."""
    return tuple(sorted(set().union(*_TRUSTED.values())))


def own_code() -> list[tuple[str, list[str]]]:
    """Folders and types, for another process that is to trust them, too."""
    return [(folder, sorted(types)) for folder, types in _TRUSTED.items()]
