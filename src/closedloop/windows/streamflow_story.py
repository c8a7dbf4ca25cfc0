"""The story of the generated months: what the customers of each month are like, and why they leave.

The numbers only tell the story; the loop decides by itself what to make of it:

    month 0, 1   everyday; month 1 is a new draw with a hint of what the campaign will change
    month 2      a campaign: twice the customers, other covariates, and other reasons to leave
    month 3      the campaign is over: everyday covariates, everyday reasons
    month 4      a price rise: covariates move for good, the reasons to leave hardly change
    month 5      broken: fees arrive in cents, failed payments do not arrive at all
    month 6 ...  the price rise has changed the reasons to leave for good
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Reasons:
    """Why customers leave: log-odds per unit of each cause.

    `lasting` scales the lasting causes (contract, tenure, fee, network). `behaviour` scales the
    behavioural ones (watching, buffering, tickets, payments, devices, skips, waiting). `fee` adds
    weight to the fee. `churn` is the share of customers who leave.
    """

    lasting: float = 1.0
    behaviour: float = 1.0
    fee: float = 0.0
    churn: float = 0.26


@dataclass(frozen=True)
class Regime:
    """What the customers of one month look like.

    Rates are expected counts per customer; shares lie between 0 and 1.
    """

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
# Month 1 hints at what the campaign will do to behaviour, too weakly to show: a model that has
# learned the hint is no worse in month 2.
_STORY = (
    EVERYDAY,
    replace(EVERYDAY, reasons=Reasons(behaviour=0.8)),
    CAMPAIGN,
    EVERYDAY,
    PRICE_RISE,
    PRICE_RISE,
)


def regime_of(month: int) -> Regime:
    """The regime of a month, 0 for the first."""
    return _STORY[month] if month < len(_STORY) else NEW_NORMAL
