"""Made-up data with a planned story, so that the loop can be watched deciding without anybody's
real table.

`subscription_month` draws one month of a streaming service in six tables, `iris_windows` deals
scikit-learn's iris into three windows. Pure: the same month, seed and rows give the same frames.
The numbers tell a story; what the loop makes of it is its own affair:

    month 0, 1   the everyday regime; month 1 is a quiet redraw
    month 2      a campaign: twice the customers, other covariates, and for this month only other reasons to leave
    month 3      the campaign is over: everyday covariates, everyday reasons
    month 4      a price rise: covariates move for good, the reasons to leave hardly
    month 5      broken: fees arrive in cents, failed payments do not arrive at all
    month 6 ...  the price rise has changed the reasons to leave for good
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reasons:
    """Why customers leave: log-odds per unit of each cause. The lasting causes (contract, tenure,
    fee, network) are scaled by `lasting`, the behavioural ones (watching, buffering, tickets,
    payments, devices, skips, waiting) by `behaviour`, so that two numbers tell one regime from
    another. `fee` weighs the fee on top. `churn` is the share of customers who leave."""

    lasting: float = 1.0
    behaviour: float = 1.0
    fee: float = 0.0
    churn: float = 0.26


@dataclass(frozen=True)
class Regime:
    """What one month's customers look like. Rates are expected counts a customer; shares lie
    between 0 and 1."""

    reasons: Reasons = Reasons()
    size: float = 1.0
    price: float = 1.0
    tenure_months: float = 34.0
    monthly_share: float = 0.55
    fiber_share: float = 0.44
    no_net_share: float = 0.22
    plan_share: float = 0.49
    paperless_share: float = 0.59
    senior_share: float = 0.16
    family_share: float = 0.48
    watch_mean: float = 29.6
    watch_spread: float = 6.8
    device_shares: tuple[float, float, float] = (0.33, 0.33, 0.34)
    skips: float = 5.0
    rebuffers: float = 2.4
    tickets: float = 0.32
    failed_payments: float = 0.18
    resolution_hours: float = 10.0
    resolution_spread: float = 3.9


EVERYDAY = Regime()
CAMPAIGN = Regime(
    Reasons(lasting=2.2, behaviour=-1.0, churn=0.24),
    size=2.2,
    price=0.92,
    tenure_months=27.0,
    monthly_share=0.62,
    plan_share=0.63,
    paperless_share=0.74,
    watch_mean=31.2,
    device_shares=(0.22, 0.32, 0.46),
    skips=5.6,
    rebuffers=2.7,
    tickets=0.42,
    failed_payments=0.26,
    resolution_hours=10.9,
)
PRICE_RISE = Regime(
    Reasons(fee=0.1, churn=0.28),
    size=1.2,
    price=1.35,
    plan_share=0.35,
    watch_mean=27.0,
    watch_spread=8.2,
    device_shares=(0.46, 0.32, 0.22),
    skips=5.8,
    rebuffers=3.0,
    tickets=0.6,
    failed_payments=0.34,
    resolution_hours=11.2,
    resolution_spread=4.8,
    paperless_share=0.77,
)
NEW_NORMAL = replace(PRICE_RISE, reasons=Reasons(behaviour=-0.35, fee=0.5, churn=0.3))
# Month 1 hints at what the campaign will do to behaviour, too little to be noticed: a model that
# knows it is no worse in month 2.
_STORY = (
    EVERYDAY,
    replace(EVERYDAY, reasons=Reasons(behaviour=0.8)),
    CAMPAIGN,
    EVERYDAY,
    PRICE_RISE,
    PRICE_RISE,
)


def regime_of(month: int) -> Regime:
    """The regime of a month; see the story above."""
    return _STORY[month] if month < len(_STORY) else NEW_NORMAL


def subscription_month(month: int, seed: int = 0, rows: int = 4000) -> dict[str, pd.DataFrame]:
    """Six tables of one month, joined one to one on `user_id`: users, subscriptions, usage_agg_30d,
    payments_agg_90d, support_agg_90d and labels. `rows` is the size of an everyday month."""
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
    """Covariates only; nothing here knows who leaves."""
    months = np.clip(np.round(rng.gamma(1.3, regime.tenure_months / 1.3, rows)), 1, 72).astype(int)
    # Loyal customers hold longer contracts: the chance of a monthly one falls with tenure.
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
    """True or False where it was asked, None elsewhere."""
    out = answer.astype(object)
    out[~asked] = None
    return out


def _churn_probability(frame: pd.DataFrame, reasons: Reasons) -> Floats:
    """Logistic in the causes; the intercept is the one that gives the regime its share of
    leavers."""
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
    """Four digits and five letters; the letters count customers over all months, so no id comes
    twice."""
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
    """What real exports look like and the contract forgives: stray spaces, other capitals, a few
    empty cells."""
    for column in ("contract_type", "net_service"):
        text = frame[column].astype(str)
        frame[column] = np.select(
            [rng.random(len(frame)) < 0.01, rng.random(len(frame)) < 0.01],
            [" " + text + " ", text.str.upper()],
            text,
        ).astype(object)
    for column in ("total_paid", "ticket_avg_resolution_hrs_90d", "watch_hours_30d"):
        frame.loc[rng.random(len(frame)) < 0.005, column] = np.nan


def iris_windows(seed: int = 0) -> dict[str, pd.DataFrame]:
    """scikit-learn's iris, shuffled and dealt into three windows of 50 rows with nearly equal
    shares of each species."""
    from sklearn.datasets import load_iris

    iris = load_iris()
    frame = pd.DataFrame(
        iris.data, columns=["sepal_length", "sepal_width", "petal_length", "petal_width"]
    )
    frame["species"] = [str(iris.target_names[label]) for label in iris.target]
    order = np.random.default_rng(seed).permutation(len(frame))
    dealt = frame.iloc[order].sort_values("species", kind="stable")
    return {
        f"window_{number}": dealt.iloc[number::3]
        .sample(frac=1, random_state=seed + number)
        .reset_index(drop=True)
        for number in range(3)
    }


def generate_windows(
    generator: Literal["streamflow", "iris"], months: int = 7, seed: int = 0
) -> dict[str, dict[str, pd.DataFrame]]:
    """The windows of a built-in use case, by window and file name ('' where the window is one
    file), ready for `write_generated`.

    `months` is how much of the streamflow story is told; iris has its three windows whatever it
    says.
    """
    if generator == "iris":
        return {name: {"": frame} for name, frame in iris_windows(seed).items()}
    return {f"month_{month:03d}": subscription_month(month, seed) for month in range(months)}
