"""The generated data: the conventions of a real export, and numbers that tell the planned story."""

from __future__ import annotations

from functools import cache, reduce
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wasserstein_distance
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from closedloop.errors import UseCaseError
from closedloop.use_case.loop_toml import load_use_case
from closedloop.windows.contract_check import check_contract, measure_statistics
from closedloop.windows.prepare import prepare
from closedloop.windows.streamflow_month import TABLES, subscription_month
from closedloop.windows.synthetic import Generator, generate_windows, iris_windows

USE_CASE = load_use_case(Path(__file__).parents[3] / "data" / "streamflow")


def raw(month: int) -> pd.DataFrame:
    return reduce(
        lambda left, right: left.merge(right, on="user_id"), subscription_month(month).values()
    )


@cache
def rows(month: int) -> pd.DataFrame:
    return prepare(raw(month), USE_CASE)


@cache
def trained(months: tuple[int, ...]) -> object:
    frame = pd.concat([rows(month) for month in months])
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), list(USE_CASE.categorical)),
        (make_pipeline(SimpleImputer(), StandardScaler()), list(USE_CASE.numeric)),
    )
    return make_pipeline(columns, LogisticRegression(max_iter=500)).fit(
        frame, frame["churn_label"] == "True"
    )


def scores(months: tuple[int, ...], month: int) -> np.ndarray:
    return trained(months).predict_proba(rows(month))[:, 1]  # type: ignore[attr-defined]


def auc(months: tuple[int, ...], month: int) -> float:
    return float(roc_auc_score(rows(month)["churn_label"] == "True", scores(months, month)))


def worst_case_gain(months: tuple[int, ...], month: int, *, quantile: float) -> float:
    """A quantile of the AUC difference of a model of `months` and the model of month 0, over paired
    bootstraps of the month's rows."""
    actual = (rows(month)["churn_label"] == "True").to_numpy()
    new, old = scores(months, month), scores((0,), month)
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(actual), len(actual)) for _ in range(150)]
    return float(
        np.quantile(
            [
                roc_auc_score(actual[draw], new[draw]) - roc_auc_score(actual[draw], old[draw])
                for draw in draws
            ],
            quantile,
        )
    )


def drift_share(month: int) -> float:
    reference, current = rows(0), rows(month)
    drifted = []
    for name in USE_CASE.numeric:
        spread = max(reference[name].std(), 1e-9)
        drifted.append(
            wasserstein_distance(reference[name].dropna(), current[name].dropna()) / spread >= 0.1
        )
    for name in USE_CASE.categorical:
        shares = (
            pd.concat(
                [frame[name].value_counts(normalize=True) for frame in (reference, current)], axis=1
            )
            .fillna(0)
            .to_numpy()
        )
        middle = shares.mean(axis=1, keepdims=True)
        divergence = (
            np.where(shares > 0, shares * np.log(np.where(shares > 0, shares, 1) / middle), 0).sum()
            / 2
        )
        drifted.append(np.sqrt(max(divergence, 0)) >= 0.1)
    return float(np.mean(drifted))


def test_same_seed_same_rows() -> None:
    """A month depends on its number, the seed and the size alone."""
    for table, frame in subscription_month(2, seed=3, rows=500).items():
        pd.testing.assert_frame_equal(frame, subscription_month(2, seed=3, rows=500)[table])
    assert not subscription_month(0, seed=1, rows=500)["usage_agg_30d"].equals(
        subscription_month(0, seed=2, rows=500)["usage_agg_30d"]
    )


def test_six_tables_join_one_to_one_and_ids_are_unique_over_all_months() -> None:
    """Every table has every customer of the month once, and no customer's id comes back in another
    month."""
    ids: list[str] = []
    for month in range(8):
        tables = subscription_month(month, rows=400)
        assert {name: list(frame.columns[1:]) for name, frame in tables.items()} == TABLES
        assert all(
            frame["user_id"].tolist() == tables["users"]["user_id"].tolist()
            for frame in tables.values()
        )
        ids += tables["users"]["user_id"].tolist()
    assert len(ids) == len(set(ids))


def test_conventions_of_the_real_export() -> None:
    """Plans are null exactly where there is no net service; the average session is one constant."""
    frame = rows(0)
    assert ((frame["plan_stream_tv"] == "(missing)") == (frame["net_service"] == "No")).all()
    assert frame["avg_session_mins_7d"].nunique() == 1
    assert set(raw(0)["churn_label"]) == {True, False}


@pytest.mark.parametrize("month", [0, 1, 2, 3, 4, 6, 7])
def test_sound_months_keep_the_contract(month: int) -> None:
    """Warts, campaign and price rise are no violations, also compared with the statistics of
    month 0."""
    assert (
        check_contract(raw(month), rows(month), USE_CASE, measure_statistics(rows(0), USE_CASE))
        == ()
    )


def test_month_5_is_broken() -> None:
    """Fees in cents and missing payments break the contract; nothing else does."""
    assert {
        (broken.column, broken.rule) for broken in check_contract(raw(5), rows(5), USE_CASE)
    } == {
        ("monthly_fee", "range"),
        ("failed_payments_90d", "null"),
    }


def test_drift_is_where_the_story_says() -> None:
    """Months 1 and 3 look like month 0; the campaign and the price rise move at least two of five
    columns."""
    assert drift_share(1) < 0.1
    assert drift_share(3) < 0.1
    assert min(drift_share(2), drift_share(4), drift_share(6)) >= 0.4


def test_everyday_months_can_be_learnt() -> None:
    """Month 0's model ranks another everyday month at 0.78 to 0.85 AUC."""
    assert 0.78 < auc((0,), 1) < 0.85
    assert 0.78 < auc((0,), 3) < 0.85


@pytest.mark.slow
def test_campaign_costs_production_less_than_the_quarantine_limit() -> None:
    """Month 2 is bad enough to show, not so bad that its labels are kept out."""
    assert 0.03 < min(auc((0,), month) for month in (0, 1, 3)) - auc((0,), 2) < 0.09
    assert worst_case_gain((0, 1), 2, quantile=0.025) > -0.003


@pytest.mark.slow
def test_a_model_that_learnt_from_the_campaign_is_worse_afterwards() -> None:
    """In month 3 the refit on months 0 to 2 is significantly worse than month 0's model, however
    the rows are drawn again."""
    assert worst_case_gain((0, 1, 2), 3, quantile=0.995) < 0


@pytest.mark.slow
def test_the_campaign_in_the_history_harms_in_month_4_and_pays_in_month_6() -> None:
    """History with the campaign is significantly worse when prices rise, significantly better once
    the reasons have changed."""
    assert worst_case_gain((0, 1, 2, 3), 4, quantile=0.995) < 0
    assert worst_case_gain((0, 1, 2, 3, 4), 6, quantile=0.005) > 0


def test_iris_is_dealt_into_three_stratified_windows() -> None:
    """Three windows of 50 hold all 150 flowers, each species with 16 or 17 in each, differently for
    another seed."""
    windows = iris_windows(0)
    assert list(windows) == ["window_0", "window_1", "window_2"]
    assert all(
        len(frame) == 50 and set(frame["species"].value_counts()) <= {16, 17}
        for frame in windows.values()
    )
    assert pd.concat(windows.values()).drop(columns="species").sum().round(1).to_dict() == {
        "sepal_length": 876.5,
        "sepal_width": 458.6,
        "petal_length": 563.7,
        "petal_width": 179.9,
    }
    assert not windows["window_0"].equals(iris_windows(1)["window_0"])


def test_generated_windows_by_name() -> None:
    """Streamflow brings a folder of tables a month, iris one file a window."""
    assert {
        name: set(tables) for name, tables in generate_windows("streamflow", months=2).items()
    } == {"month_000": set(TABLES), "month_001": set(TABLES)}
    assert {name: set(tables) for name, tables in generate_windows("iris").items()} == {
        f"window_{number}": {""} for number in range(3)
    }


@pytest.mark.parametrize(
    ("generator", "months", "said"),
    [
        (
            "iris",
            5,
            "wanted 1 to 3, iris has only 3 windows, got 5: closedloop generate --months 3",
        ),
        ("iris", 0, "wanted 1 to 3, .* got 0: closedloop generate --months 1"),
        ("streamflow", 1001, "streamflow has only 1000 windows, got 1001: .* --months 1000"),
        ("streamflow", -1, "got -1: closedloop generate --months 1"),
    ],
)
def test_a_generator_says_how_many_windows_it_has(
    generator: Generator, months: int, said: str
) -> None:
    """More months than there are, or none, are refused with the number to give."""
    with pytest.raises(UseCaseError, match=said):
        generate_windows(generator, months)


@pytest.mark.parametrize("months", [None, 1, 2, 3])
def test_iris_has_as_many_windows_as_asked_for(months: int | None) -> None:
    """The first ones of three, which are the same however many are asked for."""
    found = generate_windows("iris", months)
    assert list(found) == [f"window_{number}" for number in range(months or 3)]
    assert all(
        found[name][""].equals(frame) for name, frame in iris_windows().items() if name in found
    )
