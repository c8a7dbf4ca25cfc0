"""A version is fitted again on its own rows and gives the same scores, or it is said what differs.

Its loop trained on January and March; February breaks the contract, and only made January older.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from closedloop.cli.app import main
from closedloop.cli.reproduce import NOT_PROVED
from closedloop.records.labels import Label
from closedloop.training.candidates import LabelledWindow, fit_recipe
from closedloop.turn.compute import Compute
from closedloop.turn.reproduce import _compare_surroundings, reproduce
from closedloop.use_case.contract import UseCase
from tests.answers import describe_answers
from tests.turned_loop import TurnedLoop, make_month, write_loop

pytestmark = pytest.mark.slow

JANUARY, FEBRUARY = "2026-01.csv", "2026-02.csv"


def train_once(folder: Path, recipe: str, make_mlflow_tables: Callable[[Path], None]) -> TurnedLoop:
    turned = write_loop(folder, 3, recipe=recipe)
    make_month(2).drop(columns="plan").to_csv(folder / FEBRUARY, index=False)
    make_mlflow_tables(turned.settings.home_folder)
    turned.train("2026-03")
    facts = turned.open().registry.load(1).facts
    assert (facts.trained_windows, facts.recipe) == (("2026-01", "2026-03"), f"{recipe}/recent")
    return turned


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, make_mlflow_tables: Callable[[Path], None]
) -> TurnedLoop:
    return train_once(tmp_path_factory.mktemp("shop"), "logistic", make_mlflow_tables)


@pytest.fixture
def turned(trained: TurnedLoop) -> Iterator[TurnedLoop]:
    """The trained loop; its files are as they were after each test."""
    before = {path: path.read_bytes() for path in trained.folder.iterdir() if path.is_file()}
    yield trained
    for path in [path for path in trained.folder.iterdir() if path.is_file()]:
        path.unlink()
    for path, content in before.items():
        path.write_bytes(content)


def say(
    turned: TurnedLoop, capsys: pytest.CaptureFixture[str], *options: str, revision: str = "abc"
) -> tuple[int, str]:
    """The exit code of the command and what it prints."""
    home, given = turned.settings.home_folder, ["reproduce", "1", "--use-case", str(turned.path)]
    environment = {"CLOSEDLOOP_HOME": str(home), "CLOSEDLOOP_REVISION": revision}
    code = main([*given, *options], environment)
    return code, capsys.readouterr().out


def test_a_version_is_reproduced_bit_for_bit(
    turned: TurnedLoop, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command says so, for people and for programs; nothing was registered, moved or
    written."""
    loop = turned.open()
    before = (loop.registry.versions(), loop.journal.history("shop"))
    assert say(turned, capsys) == (
        0,
        "version 1 (logistic/recent, 2 windows) is reproduced: the largest difference of a score "
        "on 658 rows is 0, 0 is allowed\n",
    )
    code, printed = say(turned, capsys, "--json")
    found = json.loads(printed)
    assert (code, found["proved"], found["largest_difference"], found["others"]) == (0, True, 0, [])
    assert (loop.registry.versions(), loop.journal.history("shop")) == before


def test_trees_are_reproduced_bit_for_bit(
    tmp_path: Path, make_mlflow_tables: Callable[[Path], None]
) -> None:
    """LightGBM with weights by age, too."""
    found = reproduce(train_once(tmp_path, "lightgbm", make_mlflow_tables).open(), 1)
    assert (found.differences, found.others, found.largest_difference) == ((), (), 0.0)


def test_other_windows_change_no_age(turned: TurnedLoop) -> None:
    """February, which was left out, is deleted, and April came: January is still two windows
    older than March."""
    (turned.folder / FEBRUARY).unlink()
    make_month(4).to_csv(turned.folder / "2026-04.csv", index=False)
    found = reproduce(turned.open(), 1)
    assert (found.differences, found.largest_difference) == ((), 0.0)


def test_windows_of_records_are_read_again(
    tmp_path: Path, make_mlflow_tables: Callable[[Path], None]
) -> None:
    """A version that learnt from answered requests and their labels; a label that is corrected
    after the training is other rows."""
    turned = write_loop(tmp_path, 1)
    make_mlflow_tables(turned.settings.home_folder)
    answered, loop = make_month(2), turned.open()
    texts = answered.astype(object).where(answered.notna(), None).astype({"active": str})
    features = {name: texts[name].tolist() for name in loop.use_case.columns}
    shares = {label: [0.5] * len(answered) for label in ("no", "yes")}
    request = describe_answers("shop", 1, features, shares)
    loop.records.append([request])
    pairs = zip(answered["left"], request.ids, strict=True)
    loop.records.label_many([Label(label, id=id) for label, id in pairs])
    turned.train(with_records=True)
    found = reproduce(turned.open(), 1)
    assert found.windows[-1].startswith("records_")
    assert (found.differences, found.largest_difference) == ((), 0.0)
    other = "yes" if answered["left"][0] == "no" else "no"
    loop.records.label_many([Label(other, id=request.ids[0], replaces=True)])
    [said] = reproduce(turned.open(), 1).differences
    assert said.startswith(f"the rows of {found.windows[-1]} have changed (digest ")


def test_changed_rows_are_named_with_both_digests(
    turned: TurnedLoop, capsys: pytest.CaptureFixture[str]
) -> None:
    """One value of one row is enough; nothing is fitted, and the exit code says so."""
    digest = turned.open().registry.load(1).facts.digests["2026-01"]
    rows = pd.read_csv(turned.folder / JANUARY)
    rows.loc[17, "spend"] = 12.34
    rows.to_csv(turned.folder / JANUARY, index=False)
    code, printed = say(turned, capsys)
    assert code == NOT_PROVED
    start = "version 1 (logistic/recent, 2 windows) is not reproduced: the rows of 2026-01 have "
    assert printed.startswith(f"{start}changed (digest {digest}, now ")
    assert json.loads(say(turned, capsys, "--json")[1])["largest_difference"] is None


def test_a_missing_window_is_named(turned: TurnedLoop, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that was deleted after the training, or all of them."""
    (turned.folder / JANUARY).unlink()
    code, printed = say(turned, capsys)
    assert (code, printed.rstrip().endswith("the window 2026-01 is missing")) == (NOT_PROVED, True)
    for path in turned.folder.glob("*.csv"):
        path.unlink()
    assert reproduce(turned.open(), 1).differences == (
        "the window 2026-01 is missing",
        "the window 2026-03 is missing",
    )


def test_the_contract_of_the_training_counts_and_another_one_is_told(turned: TurnedLoop) -> None:
    """Today's loop.toml has another seed, half-life, learner and columns; the files lie in
    another folder, which is where they are looked for."""
    text = turned.path.read_text(encoding="utf-8")
    for old, new in {
        "half_life_windows = 1.0": "half_life_windows = 9.0\nseed = 8",
        'recipes = ["logistic"]': 'recipes = ["lightgbm"]',
        '[columns.visits]\ntype = "numeric"\noptional = true\n': "",
        "[source]\n": '[source]\nroot = "moved"\n',
    }.items():
        assert old in text
        text = text.replace(old, new)
    turned.path.write_text(text, encoding="utf-8")
    (turned.folder / "moved").mkdir(exist_ok=True)
    for path in turned.folder.glob("*.csv"):
        (turned.folder / "moved" / path.name).write_bytes(path.read_bytes())
        path.unlink()
    found = reproduce(turned.open(), 1)
    assert (found.differences, found.largest_difference, found.tolerance) == ((), 0.0, 0.0)
    assert found.others == (
        "loop.toml has changed since: columns, training; that of then was used",
    )


def test_another_code_revision_is_told(
    turned: TurnedLoop, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scores are the same, so the version is proved; that the code is another is a note."""
    code, printed = say(turned, capsys, revision="def")
    assert (code, printed.splitlines()[1:]) == (0, ["note: the code revision was abc, now def"])


def test_another_platform_and_other_libraries_are_told_and_get_a_tolerance(
    turned: TurnedLoop,
) -> None:
    """A platform that was not noted counts as another one."""
    loop = turned.open()
    tag, client = "closedloop.platform", loop.registry._client
    here = client.get_model_version("shop", "1").tags[tag]
    client.set_model_version_tag("shop", "1", tag, "Plan9 mips")
    try:
        found = reproduce(loop, 1)
    finally:
        client.set_model_version_tag("shop", "1", tag, here)
    assert found.others == (f"the platform was Plan9 mips, now {here}",)
    assert (found.proved, found.tolerance) == (True, 1e-6)
    told = list(_compare_surroundings({}, f"pandas=={pd.__version__}\nnumpy==1.0\nnone-such==2\n"))
    assert told[0].startswith("numpy was 1.0, now 2.")
    assert told[1] == "none-such was 2, now not installed"
    assert told[2] == f"the platform was not noted, now {here}"


def test_an_unknown_version_is_refused(
    turned: TurnedLoop, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the code of an error, which is not that of a version that is not proved."""
    given = ["reproduce", "7", "--use-case", str(turned.path)]
    assert main(given, {"CLOSEDLOOP_HOME": str(turned.settings.home_folder)}) == 4
    assert "wanted version 7, got versions 1" in capsys.readouterr().err


class OtherCode(Compute):
    """Fits as another revision of the code might."""

    def fit(self, recipe: str, windows: tuple[LabelledWindow, ...], use_case: UseCase) -> Any:
        training = replace(use_case.training, half_life_windows=2.0)
        return fit_recipe(recipe, windows, replace(use_case, training=training))


def test_scores_that_differ_are_no_proof(turned: TurnedLoop) -> None:
    """By how much they differ is said; the same rows alone prove nothing."""
    found = reproduce(replace(turned.open(), compute=OtherCode()), 1)
    assert found.largest_difference is not None
    assert found.largest_difference > 1e-3
    assert found.differences == (
        f"scores differ by up to {found.largest_difference:.3g} on 658 rows, 0 is allowed",
    )
    assert not found.proved
