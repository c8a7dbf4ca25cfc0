"""The winner in loop.toml: appended, read back, and another recipe for the gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from closedloop.errors import UseCaseError
from closedloop.experiment.written_recipe import append_recipe, choose_name, write_recipe
from closedloop.use_case.loop_toml import load_use_case
from closedloop.use_case.recipe import Recipe
from tests.turned_loop import write_loop

RECIPE = Recipe("logistic", {"C": 0.0123, "class_weight": "balanced", "fit_intercept": True})
BLOCK = write_recipe("logistic_tuned", RECIPE, "trial 3:\nAUC 0.8")


@pytest.mark.slow
def test_the_gate_takes_it_for_another_recipe(
    tmp_path: Path, make_mlflow_tables: Callable[[Path], None]
) -> None:
    """Written into loop.toml and named under [training], it has to be better than production, not
    only as good."""
    place = write_loop(tmp_path, 4)
    make_mlflow_tables(place.settings.home_folder)
    assert place.train("2026-03").decision.action.value == "promote"
    append_recipe(place.path, "logistic_tuned", BLOCK)
    text = place.path.read_text()
    place.path.write_text(text.replace('recipes = ["logistic"]', 'recipes = ["logistic_tuned"]'))
    loop = place.open()
    assert loop.use_case.recipes == {"logistic_tuned": RECIPE}
    decided = place.train().decision
    assert "significantly better than version 1: lower bound above" in str(decided.checks)
    assert decided.action.value == "reject"


@pytest.mark.parametrize("end", ["\n", "\r\n", ""], ids=["unix", "windows", "no end of line"])
def test_what_was_there_stays(tmp_path: Path, end: str) -> None:
    """Comments, order and line ends are the user's; the file begins with what it was."""
    path = write_loop(tmp_path, 1).path
    text = path.read_text().rstrip() + "  # mine"
    before = (text + "\n" if end else text).replace("\n", end or "\n").encode()
    path.write_bytes(before)
    append_recipe(path, "logistic_tuned", BLOCK)
    after = path.read_bytes()
    assert after.startswith(before)
    assert after.count(b"\r\n") in (0, after.count(b"\n"))
    assert load_use_case(path).recipes["logistic_tuned"] == RECIPE


def test_a_file_that_cannot_take_it_stays_as_it_is(tmp_path: Path) -> None:
    """Where [recipes] is written in one line, no table can follow: nothing is changed, and the
    error says what to do."""
    path = write_loop(tmp_path, 1).path
    before = "recipes = { logistic = { parameters = { C = 2.0 } } }\n" + path.read_text()
    path.write_text(before)
    with pytest.raises(UseCaseError, match="write the recipe into it by hand"):
        append_recipe(path, "logistic_tuned", BLOCK)
    assert path.read_text() == before


def test_a_name_is_never_taken_twice() -> None:
    """Numbers follow, also when what was tuned is tuned again."""
    assert choose_name("lightgbm", ()) == "lightgbm_tuned"
    assert choose_name("lightgbm_tuned", ("lightgbm_tuned",)) == "lightgbm_tuned_2"
    taken = ("x_tuned", "x_tuned_2")
    assert choose_name("x_tuned_2", taken) == "x_tuned_3"
    assert len(choose_name("x" * 60, ())) <= 60


def test_an_unknown_parameter_is_not_written(tmp_path: Path) -> None:
    """What the class would refuse is refused before it is in the file."""
    path = write_loop(tmp_path, 1).path
    before = path.read_text()
    wrong = write_recipe("mine", replace(RECIPE, parameters={"c": 1.0}), "")
    with pytest.raises(UseCaseError, match="a parameter of logistic"):
        append_recipe(path, "mine", wrong)
    assert path.read_text() == before
