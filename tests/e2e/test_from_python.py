"""What the documents show of Python runs: the notebook, and every block of docs/python.md."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from closedloop import open_loop
from closedloop.decisions.checks import Action
from closedloop.settings import Settings
from closedloop.turn.history import History
from closedloop.turn.open import open_loop as open_whole_loop
from closedloop.turn.register import propose_candidate
from closedloop.turn.take_turn import retrain, take_turn
from closedloop.windows.synthetic import generate_windows, write_generated
from docs.make_notebook import NOTEBOOK, ROOT, USE_CASE, copy_tree, run, strip
from tests.e2e.served_shop import children
from tests.house.documents import blocks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def turned(
    tmp_path_factory: pytest.TempPathFactory, make_mlflow_tables: Callable[[Path], None]
) -> Path:
    """The top of a project in which the first two windows of iris were looked at."""
    top = copy_tree(tmp_path_factory.mktemp("project"))
    make_mlflow_tables(top / "var")
    settings = Settings(home=top / "var", data=None, database_url=None, mlflow_url=None)
    loop = open_whole_loop(top / USE_CASE, settings=settings)
    write_generated(loop.use_case, None, generate_windows("iris", 3))
    for window in ("window_0", "window_1"):
        entry = take_turn(History(loop, window))
        if entry.decision.action is Action.RETRAIN:
            retrain(History(loop, window), entry, propose=propose_candidate)
    assert loop.registry.production() == 1
    return top


@pytest.mark.nightly
def test_the_notebook_runs_and_shows_what_is_so(turned: Path) -> None:
    """No cell fails, and the difference that it shows, and that is committed, is the one that
    `compare` finds."""
    before = children(os.getpid())
    shown = texts_of(run(turned))
    assert children(os.getpid()) <= before, "the notebook's process goes on"
    loop = open_loop(turned / USE_CASE, turned / "var")
    [sepals] = re.findall(r"sepals minus production: (.*)", shown)
    assert sepals == str(loop.compare(fit_sepals(turned), 1, "window_2").delta)
    committed = nbformat.read(ROOT / NOTEBOOK, as_version=4)
    assert f"sepals minus production: {sepals}" in texts_of(committed), "run: make notebook"


def test_the_committed_notebook_is_as_it_is_written() -> None:
    """No times, counters, warnings or pages: only results change what is committed."""
    committed = nbformat.read(ROOT / NOTEBOOK, as_version=4)
    assert strip(nbformat.read(ROOT / NOTEBOOK, as_version=4)) == committed
    assert (ROOT / NOTEBOOK).stat().st_size < 50_000
    assert all(cell.outputs for cell in committed.cells if cell.cell_type == "code")


@pytest.mark.nightly
def test_the_blocks_of_the_page_run(turned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, at the top of the project, in one session."""
    monkeypatch.chdir(turned)
    monkeypatch.setenv("CLOSEDLOOP_HOME", "var")
    shown = [block for block in blocks(ROOT / "docs/python.md") if block.language == "python"]
    session: dict[str, object] = {}
    for block in shown:
        exec(compile(block.text, "docs/python.md", "exec"), session)
    assert len(shown) >= 8
    assert session["compared"].rows == 50  # type: ignore[attr-defined]


def fit_sepals(top: Path) -> object:
    """The model of the notebook that knows the sepals alone."""
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    loop = open_loop(top / USE_CASE, top / "var")
    known = pd.concat([loop.window(name) for name in ("window_0", "window_1")])
    return LogisticRegression().fit(known[loop.features[:2]], known["species"])


def texts_of(notebook: nbformat.NotebookNode) -> str:
    """All that the cells printed and returned, as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "\n".join(
        output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs
    )
