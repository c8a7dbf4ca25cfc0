"""Draws one month of the generated streaming service in six tables.

Pure: the same month, seed and number of rows give the same frames.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.windows.streamflow_story import Reasons, Regime, regime_of

Floats = NDArray[np.float64]


def subscription_month(month: int, seed: int = 0, rows: int = 4000) -> dict[str, pd.DataFrame]:
    """The six `TABLES` of one month by name, joined one to one on `user_id`.

    `rows` is the size of an everyday month.
    """
    regime = regime_of(month)
    rng = np.random.default_rng([seed, month])
    frame = _customers(regime, round(rows * regime.size), rng)
    frame["churn_label"] = rng.random(len(frame)) < _churn_probability(frame, regime.reasons)
    frame.insert(0, "user_id", _user_ids(month, len(frame), rng))
    frame["signup_date"] = _signup_dates(month, frame["months_active"].to_numpy())
    _add_warts(frame, rng)
    if month == 5:
        frame["monthly_fee"] = (frame["monthly_fee"] * 100).round(0)
        frame["failed_payments_90d"] = None
    return {table: frame[["user_id", *columns]].copy() for table, columns in TABLES.items()}


TABLES = {
    "users": ["signup_date", "user_gender", "user_is_senior", "has_family", "has_dependents"],
    "subscriptions": [
        "months_active",
        "plan_stream_tv",
        "plan_stream_movies",
        "contract_type",
        "paperless_billing",
        "monthly_fee",
        "total_paid",
        "net_service",
    ],
    "usage_agg_30d": [
        "watch_hours_30d",
        "avg_session_mins_7d",
        "unique_devices_30d",
        "skips_7d",
        "rebuffer_events_7d",
    ],
    "payments_agg_90d": ["failed_payments_90d"],
    "support_agg_90d": ["support_tickets_90d", "ticket_avg_resolution_hrs_90d"],
    "labels": ["churn_label"],
}


def _customers(regime: Regime, rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Covariates only: nothing here depends on who leaves."""
    months = np.clip(np.round(rng.gamma(1.3, regime.tenure_months / 1.3, rows)), 1, 72).astype(int)
    # Loyal customers hold longer contracts: monthly contracts become rarer with tenure.
    monthly = rng.random(rows) < np.clip(
        regime.monthly_share + 0.35 * (0.5 - months / 72), 0.05, 0.97
    )
    contract = np.where(
        monthly,
        "Month-to-month",
        np.where(rng.random(rows) < 0.3 + 0.4 * months / 72, "Two year", "One year"),
    )
    net = rng.choice(
        ["Fiber optic", "DSL", "No"],
        rows,
        p=[regime.fiber_share, 1 - regime.fiber_share - regime.no_net_share, regime.no_net_share],
    )
    television, movies = (rng.random(rows) < regime.plan_share for _ in range(2))
    family = rng.random(rows) < regime.family_share
    wired = net != "No"
    fee = (
        20
        + 27 * wired
        + 24 * (net == "Fiber optic")
        + 10 * (wired & television)
        + 10 * (wired & movies)
        + rng.normal(0, 4, rows)
    )
    fee = np.round(np.clip(fee, 18, None) * regime.price * 20) / 20
    resolution = rng.normal(regime.resolution_hours, regime.resolution_spread, rows)
    return pd.DataFrame(
        {
            "user_gender": rng.choice(["Male", "Female"], rows),
            "user_is_senior": rng.random(rows) < regime.senior_share,
            "has_family": family,
            "has_dependents": rng.random(rows) < np.where(family, 0.5, 0.1),
            "months_active": months,
            "plan_stream_tv": _only_where(wired, television),
            "plan_stream_movies": _only_where(wired, movies),
            "contract_type": contract.astype(object),
            "paperless_billing": rng.random(rows) < regime.paperless_share,
            "monthly_fee": fee,
            "total_paid": np.round(fee / regime.price * months * rng.uniform(0.95, 1.05, rows), 2),
            "net_service": net.astype(object),
            "watch_hours_30d": np.clip(
                rng.normal(regime.watch_mean, regime.watch_spread, rows), 0, None
            ).round(3),
            "avg_session_mins_7d": np.full(rows, 29.5),
            "unique_devices_30d": rng.choice([1, 2, 3], rows, p=regime.device_shares),
            "skips_7d": rng.poisson(regime.skips, rows),
            "rebuffer_events_7d": rng.poisson(regime.rebuffers, rows),
            "failed_payments_90d": rng.poisson(regime.failed_payments, rows),
            "support_tickets_90d": rng.poisson(regime.tickets, rows),
            "ticket_avg_resolution_hrs_90d": np.clip(resolution, 1, 60).round(1),
        }
    )


def _only_where(asked: NDArray[np.bool_], answer: NDArray[np.bool_]) -> NDArray[Any]:
    """The answer where it was asked, None elsewhere."""
    out = answer.astype(object)
    out[~asked] = None
    return out


def _churn_probability(frame: pd.DataFrame, reasons: Reasons) -> Floats:
    """Logistic in the causes; the intercept is set to give the regime its share of churn."""
    contract = (
        frame["contract_type"]
        .map({"Month-to-month": 0.9, "One year": -0.4, "Two year": -1.3})
        .to_numpy(float)
    )
    network = (
        frame["net_service"].map({"Fiber optic": 0.35, "DSL": 0.0, "No": -0.5}).to_numpy(float)
    )
    fee = (frame["monthly_fee"].to_numpy(float) - 65) / 25
    lasting = (
        contract
        + network
        - 0.6 * (frame["months_active"].to_numpy(float) - 32) / 24
        + 0.2 * fee
        + 0.25 * frame["user_is_senior"].to_numpy(float)
        + 0.2 * frame["paperless_billing"].to_numpy(float)
        - 0.2 * frame["has_dependents"].to_numpy(float)
    )
    behaviour = (
        -0.30 * (frame["watch_hours_30d"].to_numpy(float) - 29.6) / 6.8
        + 0.25 * (frame["rebuffer_events_7d"].to_numpy(float) - 2.4) / 1.5
        + 0.4 * frame["support_tickets_90d"].to_numpy(float)
        + 0.55 * frame["failed_payments_90d"].to_numpy(float)
        + 0.2 * (frame["skips_7d"].to_numpy(float) - 5) / 2.2
        + 0.15 * (frame["ticket_avg_resolution_hrs_90d"].to_numpy(float) - 10) / 3.9
        - 0.15 * (frame["unique_devices_30d"].to_numpy(float) - 2)
    )
    score = reasons.lasting * lasting + reasons.behaviour * behaviour + reasons.fee * fee
    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if _sigmoid(score + middle).mean() < reasons.churn else (low, middle)
        )
    return _sigmoid(score + low)


def _sigmoid(score: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-score)), dtype=np.float64)


def _user_ids(month: int, rows: int, rng: np.random.Generator) -> list[str]:
    """Four digits and five letters; the letters count customers over all months: ids are unique."""
    numbers = (month * 100_000 + np.arange(rows)) * 7_654_321 % 26**5
    letters = [
        "".join(chr(65 + number // 26**place % 26) for place in range(5))
        for number in numbers.tolist()
    ]
    return [
        f"{digits:04d}-{name}"
        for digits, name in zip(rng.integers(0, 10_000, rows).tolist(), letters, strict=True)
    ]


def _signup_dates(month: int, months_active: NDArray[np.int64]) -> list[str]:
    today = date(2024, 1, 31) + timedelta(days=30 * month)
    return [(today - timedelta(days=30 * int(active))).isoformat() for active in months_active]


def _add_warts(frame: pd.DataFrame, rng: np.random.Generator) -> None:
    """The small faults of real exports that the contract accepts: spaces, capitals, empty cells."""
    for column in ("contract_type", "net_service"):
        text = frame[column].astype(str)
        frame[column] = np.select(
            [rng.random(len(frame)) < 0.01, rng.random(len(frame)) < 0.01],
            [" " + text + " ", text.str.upper()],
            text,
        ).astype(object)
    for column in ("total_paid", "ticket_avg_resolution_hrs_90d", "watch_hours_30d"):
        frame.loc[rng.random(len(frame)) < 0.005, column] = np.nan
