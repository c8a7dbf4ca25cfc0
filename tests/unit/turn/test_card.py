"""What a version that a real turn made tells about itself, with hostile names in its table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from closedloop.cli.app import main
from closedloop.decisions.checks import Action
from closedloop.settings import Settings
from closedloop.storage.entry import Entry
from closedloop.turn.history import History
from closedloop.turn.open import Loop, open_loop
from closedloop.turn.register import IMPORTANCE_FILE, propose_candidate, read_importance
from closedloop.turn.take_turn import retrain, write_request

pytestmark = pytest.mark.slow

SCRIPT = "<script>alert(1)</script>"
IMAGE = "<img src=x onerror=alert(2)>"
LINK = "[here](javascript:alert(3))"
COLUMN = f"{IMAGE} | {LINK}"
WINDOWS = (f"2026-01 {IMAGE}", f"2026-02 {LINK}")

TOML = f"""
name = "shop"
key = "customer"
target = {{ column = "left", classes = ["no", '{SCRIPT}'] }}
source = {{ root = ".", windows = "2026-*.csv" }}
columns.spend = {{ type = "numeric", minimum = -99, maximum = 99 }}
columns.'{COLUMN}' = {{ type = "categorical", allowed = ['{SCRIPT}', "a//b"] }}
slices = [{{ name = '../{SCRIPT}', column = '{COLUMN}', values = ['{SCRIPT}'] }}]
training.recipes = ["logistic"]
policy.promotion = {{ min_rows = 100, min_slice_rows = 50 }}
"""


def make_rows(seed: int) -> pd.DataFrame:
    """Customers of whom those who spend more leave more often, and whose plans are scripts."""
    draw = np.random.default_rng(seed)
    spend = draw.normal(size=600)
    left = draw.random(600) < 1 / (1 + np.exp(-3 * spend))
    return pd.DataFrame(
        {
            "customer": [f"{seed}-{number}" for number in range(600)],
            "spend": spend,
            COLUMN: draw.choice([SCRIPT, "a//b"], 600),
            "left": np.where(left, SCRIPT, "no"),
        }
    )


def train(loop: Loop, window: str) -> Entry:
    history = History(loop, window)
    return retrain(history, write_request(history), propose=propose_candidate)


@pytest.fixture(scope="module")
def turned(
    tmp_path_factory: pytest.TempPathFactory, make_mlflow_tables: Callable[[Path], None]
) -> Loop:
    """Two versions, of which the second is a refit of the first one's recipe."""
    folder = tmp_path_factory.mktemp("card")
    make_mlflow_tables(folder / "home")
    (folder / "loop.toml").write_text(TOML)
    for number, window in enumerate(WINDOWS):
        make_rows(number).to_csv(folder / f"{window}.csv", index=False)
    settings = Settings(home=folder / "home", data=None, database_url=None, mlflow_url=None)
    loop = open_loop(folder / "loop.toml", settings=settings)
    for window in WINDOWS:
        assert train(loop, window).decision.action is Action.PROMOTE
    return loop


def test_a_version_keeps_how_much_it_needs_each_column(
    turned: Loop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the change against production on the same rows, as numbers, a plot and metrics, and
    `closedloop why` shows it, whatever the columns are called."""
    first, second = (
        read_importance(turned.registry.read_file(version, IMPORTANCE_FILE)) for version in (1, 2)
    )
    assert (first.production, second.production) == (None, 1)
    assert first.columns[0].column == second.columns[0].column == "spend"
    assert (second.window, second.rows) == (WINDOWS[1], 600)
    spend, plan = second.columns
    assert spend.loss > 0.2 > abs(plan.loss)
    assert spend.change is not None
    assert abs(spend.change) < 0.05
    run = turned.registry._client.get_run(turned.registry.version(2).run_id)
    assert run.data.metrics["importance_spend"] == spend.loss
    place = turned.registry.local_file(run.info.run_id, "importance.png")
    assert place is not None
    assert place.read_bytes().startswith(b"\x89PNG")
    monkeypatch.setenv("COLUMNS", "300")
    decision = turned.journal.history("shop")[-1]
    home, path = str(turned.settings.home), str(turned.use_case.path)
    assert main(["why", str(decision.id), "--use-case", path], {"CLOSEDLOOP_HOME": home}) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"needed columns, on 600 rows of {' '.join(WINDOWS[1].split())}" in shown
    assert f"{spend.loss:+.4f} ± {spend.error:.4f}" in shown
    assert f"{spend.change:+.4f} ± {spend.change_error:.4f}" in shown
