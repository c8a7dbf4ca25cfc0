"""Which use cases are named, and what two of them must not share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from closedloop.errors import UseCaseError
from closedloop.settings import Settings
from closedloop.use_case.several import load_use_cases, refuse_mixed_code

REPOSITORY = Path(__file__).parents[3]
STREAMFLOW, IRIS = (REPOSITORY / "data" / name for name in ("streamflow", "iris"))
OWN = """
[recipes.mine]
estimator = "mine:build"
"""


def names(**settings: Any) -> list[str]:
    return [use_case.name for use_case in load_use_cases(Settings(**settings).named_use_cases)]


def test_which_use_cases_are_named() -> None:
    """CLOSEDLOOP_USE_CASES lists them; when it is empty, CLOSEDLOOP_USE_CASE is the only one."""
    assert names(use_cases=f"{STREAMFLOW}, {IRIS / 'loop.toml'},") == ["streamflow", "iris"]
    assert names(use_cases=" ", use_case=IRIS) == ["iris"]


def test_the_use_case_that_is_named_alone_comes_first() -> None:
    """It is the one that the API answers without a prefix, by its file or by its folder; one that
    the list does not name is left out."""
    listed = f"{STREAMFLOW},{IRIS / 'loop.toml'}"
    assert names(use_cases=listed, use_case=IRIS) == ["iris", "streamflow"]
    assert names(use_cases=f"{IRIS}", use_case=STREAMFLOW) == ["iris"]


def copy_of_iris(folder: Path, name: str = "iris", more: str = "") -> Path:
    text = (IRIS / "loop.toml").read_text(encoding="utf-8").replace('golden = "golden.json"', "")
    folder.mkdir(exist_ok=True)
    (folder / "loop.toml").write_text(
        text.replace('name = "iris"', f'name = "{name}"') + more, encoding="utf-8"
    )
    return folder


def test_two_use_cases_of_the_same_name_are_refused(tmp_path: Path) -> None:
    """Their deployments would overwrite each other, and their models and decisions would mix."""
    with pytest.raises(
        UseCaseError,
        match=r"use cases with different names, got iris in .* and in .*: rename one of them",
    ):
        names(use_cases=f"{IRIS},{copy_of_iris(tmp_path)}")


def test_code_of_one_use_case_is_not_taken_for_that_of_another(tmp_path: Path) -> None:
    """Two modules of one name cannot both be imported by one process; beside one file they are one
    module, and under two names they are two."""
    folders = [copy_of_iris(tmp_path / name, name, OWN) for name in ("one", "two")]
    for folder in folders:
        (folder / "mine.py").write_text("def build(): ...", encoding="utf-8")
    with pytest.raises(UseCaseError, match=r"modules of different names .*, got mine in"):
        refuse_mixed_code(load_use_cases(folders))
    refuse_mixed_code(load_use_cases(folders[:1]))
    (folders[1] / "mine.py").rename(folders[1] / "hers.py")
    text = (folders[1] / "loop.toml").read_text(encoding="utf-8")
    (folders[1] / "loop.toml").write_text(text.replace("mine:build", "hers:build"))
    refuse_mixed_code(load_use_cases(folders))
