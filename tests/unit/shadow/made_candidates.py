"""A recipe whose next version can be made slow, wrong and broken, where only recorded rows show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from closedloop.records.store import Records
from closedloop.turn.open import Loop
from tests.answers import describe_answers
from tests.turned_loop import TurnedLoop, write_loop

# What makes a version slow, wrong or broken is read when it is fitted, and travels with it. No row
# of training has so many visits, or a plan like that.
MODULE = """
import os
import time
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression


class Odd(ClassifierMixin, BaseEstimator):
    def fit(self, frame, labels):
        self.faults_ = Path(__file__).with_name("faults.txt").read_text().split()
        self.model_ = LogisticRegression().fit(frame[["spend"]].fillna(50.0), labels)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, frame):
        answers = self.model_.predict_proba(frame[["spend"]].fillna(50.0))
        if "fails" in self.faults_ and (frame["plan"] == "platinum").any():
            raise ValueError("no plan platinum")
        if "flips" in self.faults_:
            many = frame["visits"].to_numpy() == 77
            answers[many] = answers[many][:, ::-1]
        if (frame["visits"] == 77).any():
            now = Path(__file__).with_name("now.txt")
            if now.exists() and now.read_text() == "hang":
                time.sleep(3600)
            if now.exists() and now.read_text() == "die":
                os.kill(os.getpid(), 9)
        time.sleep(0.0 if len(frame) > 1 else 0.1 if "slow" in self.faults_ else 0.004)
        return answers


def build(task):
    return Odd()
"""
TABLES = """
[recipes.odd]
estimator = "odd_recipe_of_a_shadow:build"
trusted = ["odd_recipe_of_a_shadow.Odd"]
[[slices]]
name = "regulars"
column = "visits"
minimum = 2
protected = true
[policy.shadow]
quick_ms = 12
max_flips = 0.1
min_rows = 20
"""


def write_odd_loop(folder: Path, months: int) -> TurnedLoop:
    """A loop whose only recipe is that one, without a fault until `set_faults`."""
    loop = write_loop(folder, months, recipe="odd")
    (folder / "odd_recipe_of_a_shadow.py").write_text(MODULE, encoding="utf-8")
    text = loop.path.read_text(encoding="utf-8").replace('["recent"]', '["all"]')
    loop.path.write_text(text + TABLES, encoding="utf-8")
    set_faults(loop)
    return loop


def set_faults(loop: TurnedLoop, *faults: str) -> None:
    """What the next version that is fitted has: slow, fails, flips."""
    (loop.folder / "faults.txt").write_text(" ".join(faults), encoding="utf-8")


def fall_over(loop: TurnedLoop, how: str) -> None:
    """What every version does from now on when it is asked a recorded row: hang, die, or not."""
    (loop.folder / "now.txt").write_text(how, encoding="utf-8")


def ask(loop: Loop, version: int, requests: Sequence[dict[str, Any]]) -> None:
    """Record requests of one row each, as a service that answered them would."""
    records = Records(loop.engine)
    records.append(
        [
            describe_answers(
                loop.use_case.name,
                version,
                {name: [value] for name, value in row.items()},
                {"no": [0.5], "yes": [0.5]},
                request=f"{place:012d}",
            )
            for place, row in enumerate(requests)
        ]
    )
    records.close()


def usual_rows(rows: int) -> list[dict[str, Any]]:
    """Rows as clients send them: every third visits far more often, and every tenth has a plan
    that is not in the contract."""
    return [
        {
            "spend": 10.0 + place,
            "plan": "platinum" if place % 10 == 0 else "gold",
            "active": "True",
            "visits": 77.0 if place % 3 == 0 else 3.0,
        }
        for place in range(rows)
    ]
