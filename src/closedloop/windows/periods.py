"""The hours, days, ISO weeks and months that rows and records are cut into, by a local clock.

A day has 23 or 25 hours when the clock is changed, and an hour that comes twice is two windows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from closedloop.use_case.source import Every

# How a period is named, as a format of strftime; an hour of another zone than UTC has its offset.
NAMED_AS: dict[Every, str] = {
    "hour": "%Y-%m-%dT%H",
    "day": "%Y-%m-%d",
    "week": "%G-W%V",
    "month": "%Y-%m",
}
_LONGEST: dict[Every, timedelta] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=31),
}


def start_of(moment: datetime, every: Every, zone: tzinfo = UTC) -> datetime:
    """Start, in UTC, of the period that contains `moment` by the clock of `zone`."""
    # The zone's own hour that comes twice keeps its fold, so that it has two starts.
    local = moment.astimezone(zone).replace(minute=0, second=0, microsecond=0)
    if every != "hour":
        local = local.replace(hour=0, fold=0)
    if every == "week":
        local -= timedelta(days=local.weekday())
    elif every == "month":
        local = local.replace(day=1)
    return local.astimezone(UTC)


def end_of(start: datetime, every: Every, zone: tzinfo = UTC) -> datetime:
    """Start of the period after the one that starts at `start`."""
    step = _LONGEST[every]
    # A day of 25 hours is not over after 24.
    while (end := start_of(start + step, every, zone)) <= start:
        step += timedelta(minutes=30)
    return end


def name_of(start: datetime, every: Every, zone: tzinfo = UTC) -> str:
    """The name of the period that starts at `start`: 2026-01, 2026-01-15, 2026-W03, 2026-01-15T13.

    In another zone than UTC an hour has its offset, such as 2026-10-25T02+02:00.
    """
    local = start.astimezone(zone)
    if every == "hour" and zone is not UTC:
        return local.isoformat(timespec="hours")
    return local.strftime(NAMED_AS[every])


def period_named(name: str, every: Every, zone: tzinfo = UTC) -> datetime | None:
    """Start of the period of this name; None when no period is named like that."""
    try:
        if every == "hour" and zone is not UTC:
            start = datetime.fromisoformat(name).astimezone(UTC)
        else:
            text = f"{name} 1" if every == "week" else name
            day = datetime.strptime(text, NAMED_AS[every] + (" %u" if every == "week" else ""))
            start = day.replace(tzinfo=zone).astimezone(UTC)
    except ValueError:
        return None
    return start if name_of(start, every, zone) == name else None
