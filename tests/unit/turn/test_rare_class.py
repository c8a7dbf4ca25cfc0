"""A class of 1 %: a model that never answers it is refused, and what a threshold promised on the
rows that judged it is what the service keeps."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from scipy.stats import binomtest

from closedloop.cli.draft.write_use_case import Asked, write_use_case
from closedloop.cli.service import build_service
from closedloop.decisions.checks import Action
from closedloop.experiment.folds import make_folds
from closedloop.turn.history import History
from closedloop.turn.watched_columns import PREDICTION
from tests.turned_loop import TurnedLoop, make_month, write_loop

pytestmark = pytest.mark.slow

ROWS = 6000


def make_rare_month(month: int) -> pd.DataFrame:
    """One customer in a hundred leaves, mostly of those who spend least."""
    table, draw = make_month(month, ROWS), np.random.default_rng(100 + month)
    spend = table["spend"].fillna(50)
    leaves = draw.random(ROWS) < 1 / (1 + np.exp(6.2 - 1.8 * (50 - spend) / 20))
    return table.assign(left=np.where(leaves, "yes", "no"))


def write_rare(
    folder: Path, make_mlflow_tables: Callable[[Path], None], rules: str, more: str = ""
) -> TurnedLoop:
    """Three months; `rules` are lines of [policy.promotion], `more` are other tables."""
    turned = write_loop(folder, 0, history="all")
    text = (folder / "loop.toml").read_text(encoding="utf-8")
    text = text.replace("min_f1 = 0.0\n", rules) + more
    (folder / "loop.toml").write_text(text, encoding="utf-8")
    for month in (1, 2, 3):
        make_rare_month(month).to_csv(folder / f"2026-0{month}.csv", index=False)
    make_mlflow_tables(folder / "home")
    return turned


def test_a_model_that_never_answers_the_rare_class_is_refused(
    tmp_path: Path, make_mlflow_tables: Callable[[Path], None]
) -> None:
    """F1 is that of the class that matters, and the reason says so: the mean over both would be
    0.5."""
    entry = write_rare(tmp_path / "shop", make_mlflow_tables, "min_f1 = 0.3\n").train("2026-03")
    assert entry.decision.action is Action.REJECT
    reason = entry.decision.reason
    assert reason.startswith('F1 of yes: wanted at least 0.300, or choose = "f1" under [decision]')
    assert reason.endswith("got 0.0000")


def test_the_service_keeps_the_recall_that_was_promised(
    tmp_path: Path, make_mlflow_tables: Callable[[Path], None]
) -> None:
    """Chosen on the evaluation rows, average precision deciding: on a month that nobody has seen,
    the recall of the API's answers lies within the interval of the promised one."""
    turned = write_rare(
        tmp_path / "shop",
        make_mlflow_tables,
        'min_f1 = 0.05\nmeasure = "average_precision"\n',
        '[decision]\nchoose = "recall_at_precision"\nmin_precision = 0.06\n',
    )
    entry = turned.train("2026-03")
    assert entry.decision.action is Action.PROMOTE, entry.decision.reason
    loop = turned.open()
    (told,) = [check.got for check in entry.decision.checks if " and recall " in check.got]
    share = float(re.findall(r"recall ([0-9.]+) on 2026-03", told)[0])
    rows = int((make_rare_month(3)["left"] == "yes").sum())
    promised = binomtest(round(share * rows), rows).proportion_ci(0.95)

    unseen = make_rare_month(4)
    columns = unseen[list(loop.use_case.columns)].astype(object)
    asked = columns.where(columns.notna(), None).to_dict(orient="records")
    service = build_service(loop.use_case, turned.settings, "127.0.0.1", "here", "1")
    answers: list[str] = []
    with TestClient(service, base_url="http://127.0.0.1") as client:
        for start in range(0, ROWS, 1000):
            answer = client.post("/predict", json={"rows": asked[start : start + 1000]}).json()
            answers += [row["prediction"] for row in answer["predictions"]]
    left = (unseen["left"] == "yes").to_numpy()
    recall = float((np.array(answers) == "yes")[left].mean())
    assert 0.3 < promised.low <= recall <= promised.high < 0.9, (promised, recall)


@pytest.mark.nightly
def test_a_table_of_few_positives_reaches_a_second_promotion(
    tmp_path: Path, make_mlflow_tables: Callable[[Path], None]
) -> None:
    """Months of 1,500 rows with 15 positives, described by `init` and not edited: two months judge
    together, too few say how many are missing, a search leaves both to the gate, and the second
    promotion is judged on months that the first model has not seen."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for month in range(1, 7):
        table = make_rare_month(month).tail(1500)
        table.to_csv(folder / f"2026-0{month}.csv", index=False)
    asked = Asked(target="left", out=folder, key="customer", name="shop")
    use_case, notes = write_use_case([folder], asked)
    assert any("about 2 newest windows judge together, 20 rows of it" in note for note in notes)
    assert use_case.policy.promotion.max_evaluation_windows == 4
    make_mlflow_tables(folder / "home")
    turned = TurnedLoop(folder)

    early = turned.train("2026-02").decision
    assert early.action is Action.REJECT
    assert re.search(r"got 1500 rows, 1\d of the rarest class: about 1 more window", early.reason)
    first = turned.train("2026-03").decision
    assert (first.action, first.version) == (Action.PROMOTE, 2), first.reason
    history = History(turned.open(), "2026-05")
    assert make_folds(history, 2).left == "2026-04 to 2026-05"
    second = turned.train("2026-05").decision
    assert (second.action, second.version) == (Action.PROMOTE, 3), second.reason
    (delta,) = [check for check in second.checks if check.claim.startswith("delta on ")]
    assert delta.claim == "delta on 2026-04 to 2026-05"
    assert re.search(r"\[-0\.\d+, \+0\.\d+\] on 3000 rows; .* labels", delta.got), delta.got

    bundle = turned.open().registry.load(3)
    assert bundle.facts.evaluation_window == "2026-05"
    reference = bundle.reference()
    known = reference[PREDICTION].notna()
    # Only rows that a twin had not seen have a prediction: those of the months that judged.
    assert known.sum() == 3000
    assert reference.loc[known, PREDICTION].corr(reference.loc[known, "spend"]) < -0.5
