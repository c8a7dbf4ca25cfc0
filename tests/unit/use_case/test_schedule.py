"""The schedule of a use case: which cron lines are accepted, and how others are refused."""

from __future__ import annotations

import pytest

from closedloop.use_case.schedule import DEFAULT_CRON, Schedule, check_cron

TAKEN = [
    DEFAULT_CRON,
    "*/15 8-18/2 1,15 * mon-fri",
    "5/10 * * * *",
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
    "* 18-8 * * *": "hour must be between 0 and 23, as .* from low to high",
    "*/0 * * * *": "minute must be between",
    "1,,2 * * * *": "minute must be between",
    "H * * * *": "minute must be between",
    "-1 * * * *": "minute must be between",
    "² * * * *": "minute must be between",
    "0 0 LW * *": "day of the month must be between",
    "0 0 * * 5L": "day of the week must be between",
    "0 0 * * mon#2": "day of the week must be between",
    "0 0 31 2,4 *": "a day that some month has",
    "0 0 31 2 mon": "a day that some month has",
}


@pytest.mark.parametrize("line", TAKEN)
def test_plain_cron_is_taken(line: str) -> None:
    """Numbers, names, ranges, steps and lists are accepted, each at its bounds."""
    check_cron(line)


@pytest.mark.parametrize(("line", "message"), REFUSED.items())
def test_other_lines_are_refused(line: str, message: str) -> None:
    """A line that is no plain cron, or never comes true, is refused with its wrong field."""
    with pytest.raises(ValueError, match=message):
        check_cron(line)


@pytest.mark.parametrize("name", ["", "Berlin", "Europe", "../etc/passwd", "UTC+1"])
def test_a_time_zone_has_an_iana_name(name: str) -> None:
    """A time zone that does not exist is refused when the file is read, not when the loop runs."""
    assert Schedule("0 6 * * *", "Europe/Berlin").timezone == "Europe/Berlin"
    with pytest.raises(ValueError, match="timezone must be an IANA name"):
        Schedule(timezone=name)
