"""`init` on public tables: the first turn runs without an edit, or a person is told what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from closedloop.cli.app import main
from closedloop.decisions.checks import Action
from closedloop.settings import Settings
from closedloop.turn.history import History
from closedloop.turn.open import open_loop
from closedloop.turn.register import propose_candidate
from closedloop.turn.take_turn import retrain, take_turn
from tests.e2e.public_tables import TABLES, PublicTable

REPOSITORY = Path(__file__).resolve().parents[2]
# Small ones: with one that is refused, and one whose first model is.
DAILY = ("iris", "carshare", "anes96", "spector")


@pytest.mark.slow
@pytest.mark.parametrize(
    "table",
    [
        pytest.param(table, id=table.name, marks=() if table.name in DAILY else pytest.mark.nightly)
        for table in TABLES
    ],
)
def test_a_public_table_turns_without_an_edit_or_says_what_to_decide(
    table: PublicTable,
    tmp_path: Path,
    make_mlflow_tables: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What init prints, and how the first turn ends, are as listed."""
    out = tmp_path / "loop.toml"
    code = main(["init", str(table.save(tmp_path)), *table.asked, "--out", str(out)], {})
    printed = "".join(capsys.readouterr())
    assert table.said in printed
    assert (code == 0) == (table.turn is not None)
    if table.turn is None:
        return
    make_mlflow_tables(tmp_path / "home")
    settings = Settings(home=tmp_path / "home", data=None, database_url=None, mlflow_url=None)
    loop = open_loop(out, settings=settings)
    entry = take_turn(History(loop))
    if entry.decision.action is Action.RETRAIN:
        entry = retrain(History(loop), entry, propose=propose_candidate)
    assert (entry.decision.action.value, table.turn[1] in entry.decision.reason) == (
        table.turn[0],
        True,
    ), entry.decision.reason


def test_every_public_table_is_listed_in_the_documents() -> None:
    """The list and what was decided stand in docs/public-tables.md."""
    page = (REPOSITORY / "docs/public-tables.md").read_text(encoding="utf-8")
    missing = [table.name for table in TABLES if f"| {table.name} |" not in page]
    assert not missing
    assert len(TABLES) >= 15
