"""The UTC hours, days and months that records are cut into."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

Period = Literal["hour", "day", "month"]
# How a period is named, as a format of strftime.
NAMED_AS: dict[Period, str] = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}


def start_of(moment: datetime, period: Period) -> datetime:
    """Start of the UTC hour, day or month that contains `moment`."""
    start = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if period == "hour":
        return start
    return start.replace(hour=0) if period == "day" else start.replace(hour=0, day=1)


def end_of(start: datetime, period: Period) -> datetime:
    """Start of the period after the one that starts at `start`."""
    longest = {"hour": timedelta(hours=1), "day": timedelta(days=1), "month": timedelta(days=31)}[
        period
    ]
    return start_of(start + longest, period)
