"""When the loop looks by itself: which cron lines are taken, and what is said of the others."""

from __future__ import annotations

import pytest

from closedloop.use_case.schedule import DEFAULT_CRON, Schedule, check_cron

TAKEN = [
    DEFAULT_CRON,
    "*/15 8-18/2 1,15 * mon-fri",
    "0 0 29 2 *",
    "59 23 31 JAN,dec 7",
    "0 0 30 2-4 0-6",
]
REFUSED = {
    "0 6 * *": "5 fields",
    "0 0 6 * * *": "5 fields",
    "@daily": "5 fields",
    "60 * * * *": "minute must be between 0 and 59",
    "* 24 * * *": "hour must be between 0 and 23",
    "* * 0 * *": "day of the month must be between 1 and 31",
    "* * * 13 *": "month must be between 1 and 12",
    "* * * * 8": "day of the week must be between 0 and 7",
    "* * * * fry": "day of the week must be between",
    "* 18-8 * * *": "from low to high",
    "*/0 * * * *": "minute must be between",
    "5/10 * * * *": r"minute must be \*, a number, a range or a list",
    "1,,2 * * * *": r"minute must be \*, a number, a range or a list",
    "H * * * *": "minute must be between",
    "-1 * * * *": r"minute must be \*, a number",
    "² * * * *": "minute must be between",
    "0 0 31 2,4 *": "a day that some month has",
}


@pytest.mark.parametrize("line", TAKEN)
def test_plain_cron_is_taken(line: str) -> None:
    """Numbers, names, ranges, steps and lists pass, each at its bounds."""
    check_cron(line)


@pytest.mark.parametrize(("line", "message"), REFUSED.items())
def test_what_would_never_come_true_is_refused(line: str, message: str) -> None:
    """A line that no cron reads, or that comes true on no day, is refused by the field that is
    wrong."""
    with pytest.raises(ValueError, match=message):
        check_cron(line)


@pytest.mark.parametrize("name", ["", "Berlin", "Europe", "../etc/passwd", "UTC+1"])
def test_a_clock_has_an_iana_name(name: str) -> None:
    """A time zone that does not exist would be noticed in the middle of the night."""
    assert Schedule("0 6 * * *", "Europe/Berlin").timezone == "Europe/Berlin"
    with pytest.raises(ValueError, match="timezone must be an IANA name"):
        Schedule(timezone=name)
