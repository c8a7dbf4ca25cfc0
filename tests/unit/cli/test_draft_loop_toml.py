"""From an unknown table to a loop.toml that loads, reads back and is kept by the very rows it was
guessed from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.cli.draft.loop_toml import describe_table
from closedloop.errors import UseCaseError
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import load_use_case
from closedloop.use_case.source import Source
from closedloop.windows.contract_check import check_contract
from closedloop.windows.open_source import open_source
from closedloop.windows.prepare import prepare
from closedloop.windows.tables.chunks import read_table

ROWS = 200


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "customerId": [f"c{number:04d}" for number in range(ROWS)],
            "month": [f"2024-{1 + number // 50:02d}" for number in range(ROWS)],
            "whole number": rng.integers(1, 90, ROWS),
            "fee.net": np.where(rng.random(ROWS) < 0.1, np.nan, rng.normal(0, 3, ROWS)),
            "active": rng.random(ROWS) < 0.5,
            'the "plan"': rng.choice(["it's A", "b\\c", "ünï", None], ROWS),
            "city": rng.choice([f"city {number}" for number in range(40)], ROWS),
            "remark": [f"free text {number} {rng.random():.6f}" for number in range(ROWS)],
            "always": "same",
            "nothing": None,
            "born": pd.Timestamp("2000-01-01")
            + pd.to_timedelta(rng.integers(0, 9000, ROWS), unit="D"),
            "paid": rng.permutation(ROWS) * 3 + 1,
            "left": rng.choice([0, 1], ROWS, p=[0.8, 0.2]),
        }
    )


def described(
    frame: pd.DataFrame, tmp_path: Path, ending: str = "csv", **named: Any
) -> tuple[UseCase, str]:
    path = tmp_path / "a b's" / f"shop.{ending}"
    path.parent.mkdir(exist_ok=True)
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path, index=False)
    out = tmp_path / "cases" / "loop.toml"
    out.parent.mkdir(exist_ok=True)
    source = Source(windows=path.name, window_column=named.pop("window_column", None))
    draft = describe_table(
        read_table(path, source),
        path,
        **{"name": "shop", "target": "left", "out": out, "source": source, **named},
    )
    out.write_text(draft.text, encoding="utf-8")
    return load_use_case(out), draft.text


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("window_column", [None, "month"])
def test_what_is_described_reads_back_and_keeps_its_contract(
    tmp_path: Path, ending: str, window_column: str | None
) -> None:
    """The written file loads, finds the windows, and none of the rows it was guessed from breaks
    it."""
    use_case, _ = described(table(), tmp_path, ending, window_column=window_column)
    source = open_source(use_case)
    assert source.windows() == (
        ("shop",) if window_column is None else ("2024-01", "2024-02", "2024-03", "2024-04")
    )
    read = [source.read(window) for window in source.windows()]
    assert sum(map(len, read)) == ROWS
    for raw in read:
        assert check_contract(raw, prepare(raw, use_case), use_case) == ()
    labels = pd.concat([prepare(raw, use_case)["left"] for raw in read])
    assert labels.value_counts().to_dict() == {
        str(label): count for label, count in table()["left"].value_counts().items()
    }


def test_types_bounds_and_reasons(tmp_path: Path) -> None:
    """Types come from values, bounds are wider than what was seen, and each column left out says
    why."""
    use_case, text = described(table(), tmp_path, "parquet", window_column="month")
    assert use_case.key == "customerId"
    assert use_case.target.classes == ("0", "1")
    assert {name: column.type for name, column in use_case.columns.items()} == {
        "whole number": "numeric",
        "fee.net": "numeric",
        "active": "categorical",
        'the "plan"': "categorical",
        "city": "categorical",
        "paid": "numeric",
    }
    assert use_case.columns["active"].allowed == ("False", "True")
    assert use_case.columns['the "plan"'].allowed == ("b\\c", "it's A", "ünï")
    assert use_case.columns["city"].allowed == ()
    assert use_case.columns["whole number"].minimum == 0
    assert use_case.columns["whole number"].maximum == 180
    assert use_case.columns["fee.net"].minimum < -9
    assert 0.15 < use_case.columns["fee.net"].max_null_rate < 0.4
    for reason in (
        '"remark" is an id or free text',
        '"always" is constant',
        '"nothing" is always null',
        '"born" is a date or time',
    ):
        assert reason in text


def test_policy_fits_the_windows(tmp_path: Path) -> None:
    """Minimums are within what a window of this size can bring, so that the first turn is not
    refused for want of rows."""
    use_case, _ = described(table(), tmp_path, window_column="month")
    promotion, retraining = use_case.policy.promotion, use_case.policy.retraining
    assert promotion.min_rows <= 25
    assert promotion.min_rows_per_class <= 5
    assert promotion.min_slice_rows <= 50
    assert promotion.min_slice_rows_per_class <= promotion.min_rows_per_class
    assert retraining.min_new_labels <= 50
    single, _ = described(table(), tmp_path)
    assert single.policy.promotion.min_rows <= ROWS * single.training.holdout_share
    large = pd.concat([table()] * 50).assign(customerId=range(ROWS * 50))
    assert described(large, tmp_path)[0].policy.promotion.min_rows == 500


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["yes", "no", "no"], ("no", "yes")),
        ([True, False, False], ("False", "True")),
        (["stays", "leaves", "stays"], ("stays", "leaves")),
        ([2.0, 10.0, None], ("2", "10")),
        (["b", "a", "c"], ("a", "b", "c")),
        (["1", "0", "1"], ("0", "1")),
    ],
)
def test_the_positive_class_comes_second(
    tmp_path: Path, labels: list[object], classes: tuple[str, ...]
) -> None:
    """By convention where the pair has one, otherwise the rarer; numbers in their order; nulls are
    no class."""
    frame = pd.DataFrame({"x": np.arange(90) % 7, "left": pd.Series(labels * 30, dtype=object)})
    assert described(frame, tmp_path)[0].target.classes == classes


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("lefd", "did you mean left"),
        ("fee.net", "looks like a quantity"),
        ("remark", "too many values"),
        ("always", "only 'same'"),
        ("nothing", "nulls only"),
    ],
)
def test_a_target_that_is_none(tmp_path: Path, target: str, message: str) -> None:
    """An absent, continuous, free-text or single-valued target is refused, and the message says
    which it is."""
    with pytest.raises(UseCaseError, match=message):
        described(table(), tmp_path, target=target)


def test_keys_and_windows_that_are_none(tmp_path: Path) -> None:
    """A repeating key, an absent key and a window column as fine as the rows are refused; a key may
    repeat between windows."""
    with pytest.raises(UseCaseError, match="unique within a window"):
        described(table(), tmp_path, key="city")
    with pytest.raises(UseCaseError, match="did you mean customerId"):
        described(table(), tmp_path, key="customerID")
    with pytest.raises(UseCaseError, match="add a coarser column"):
        described(table(), tmp_path, window_column="customerId")
    again = table().assign(customerId=[f"c{number % 50}" for number in range(ROWS)])
    assert described(again, tmp_path, window_column="month")[0].key == "customerId"
    assert described(again, tmp_path)[0].key is None


def test_no_feature_left(tmp_path: Path) -> None:
    """A table of ids and constants cannot be learnt from, and the reasons are listed."""
    with pytest.raises(UseCaseError, match="always is constant"):
        described(table()[["customerId", "always", "left"]], tmp_path)


def test_case_variants_are_one_category(tmp_path: Path) -> None:
    """'Yes' and 'yes' are one category, in its commonest spelling."""
    frame = pd.DataFrame({"x": ["Yes", "Yes", "yes", "no"] * 20, "left": [0, 1, 0, 1] * 20})
    assert described(frame, tmp_path)[0].columns["x"].allowed == ("Yes", "no")


def test_words_stay_words(tmp_path: Path) -> None:
    """A CSV reader that guesses would make booleans of yes and no, and the service, asked with
    'yes', would not know the category."""
    frame = pd.DataFrame(
        {"x": ["yes", "no"] * 40, "code": ["t", "f"] * 40, "left": ["1", "0"] * 40}
    )
    columns = described(frame, tmp_path)[0].columns
    assert (columns["x"].allowed, columns["code"].allowed) == (("no", "yes"), ("f", "t"))


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    """Line breaks, quotes and braces in column names cannot break out of their TOML strings or
    comments."""
    frame = pd.DataFrame(
        {
            'a"\n[policy]': np.arange(80) % 9,
            "const\nant": 1,
            "{window}": np.arange(80) % 3,
            "left": [0, 1] * 40,
        }
    )
    use_case, _ = described(frame, tmp_path, "parquet")
    assert list(use_case.columns) == ['a"\n[policy]', "{window}"]
    assert len(open_source(use_case).read("shop")) == 80
