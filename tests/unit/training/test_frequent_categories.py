"""Categories that get a column of their own, where all of them would not fit into memory."""

from __future__ import annotations

import numpy as np
import pandas as pd

from closedloop.training.frequent_categories import choose_categories
from closedloop.training.recipes import fit


def make_frame(rows: int = 4_000) -> pd.DataFrame:
    draw = np.random.default_rng(3)
    codes = np.minimum(draw.zipf(1.3, rows), 3_000)
    return pd.DataFrame(
        {
            "amount": draw.normal(size=rows),
            "code": [f"c{code}" for code in codes],
            "loyal": draw.choice(["no", "yes"], rows),
        }
    )


def test_all_categories_count_while_they_fit() -> None:
    """Nothing is chosen, so a model is what it was."""
    frame = make_frame()
    many = frame["code"].nunique() + 2
    assert choose_categories(frame, ["code", "loyal"], many) is None
    assert choose_categories(frame, ["code", "loyal"], many - 1) is not None


def test_the_most_frequent_ones_are_kept_and_each_column_keeps_one() -> None:
    """Over all columns together, in the order of the alphabet; no column vanishes."""
    frame = make_frame()
    kept = choose_categories(frame, ["code", "loyal"], 10)
    assert kept is not None
    often = frame["code"].value_counts()
    assert kept == [sorted(often.index[:8]), ["no", "yes"]]
    rare = frame.assign(loyal=[f"l{place}" for place in range(len(frame))])
    found = choose_categories(rare, ["code", "loyal"], 3)
    assert found is not None
    assert [len(values) for values in found] == [3, 1]


def test_a_wide_column_does_not_break_a_training() -> None:
    """The matrix stays within its limit, the model still ranks, and a category without a column
    is answered like one that was never seen."""
    frame = make_frame()
    labels = (frame["amount"] + (frame["code"] == "c1") > 0.5).to_numpy(dtype=int)
    columns = {"numeric": ["amount"], "categorical": ["code", "loyal"]}
    limit = 20 * len(frame)
    for learner in ("logistic", "lightgbm"):
        model = fit(learner, frame, labels, **columns, seed=1, most_values=limit)
        assert model[0].transform(frame).size == limit
        rows = frame.head(3).assign(code=["c1", "c2999", "(never seen)"], amount=0.4)
        first, rare, unseen = model.predict_proba(rows.assign(loyal="yes"))[:, 1]
        assert rare == unseen < first
