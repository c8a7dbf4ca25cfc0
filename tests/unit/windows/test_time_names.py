"""Windows are in the order of what their names mean, or refused."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.windows.time_names import UnclearOrder, find_time_order, in_time_order

MONTHS = [date(2000, month, 1).strftime("%b") for month in range(1, 13)]

# Oldest first; no case is in the order of its text.
TIMES = [
    "11/2025, 12/2025, 01/2026, 02/2026",
    "Nov 2025|Dec 2025|Jan 2026",
    "Nov-25, Dec-25, Jan-26",
    ", ".join([*(f"{month}-25" for month in MONTHS[1:]), "Jan-26", "Feb-26"]),
    "November 2025, Dezember 2025, Januar 2026, März 2026",
    "Janvier 2025, Février 2025, Août 2025, Décembre 2025",
    "2025 Nov, 2025 Dec, 2026 Jan",
    "Jan, Feb, Mar",
    "15 Nov 2025, 1 Dec 2025, 2-Jan-26",
    "Nov 15 2025, Dec 1 2025, Jan 2 2026",
    "Q3 2025, Q4 2025, Q1 2026",
    "2025-Q4, 2026-Q1, 2026-Q10",
    "Q3/25, Q4/25, Q1/26",
    "3Q25, 4Q25, 1Q26",
    "H2 2025, H1 2026",
    "2025-W7, 2025-W10, 2026-W1",
    "W07 2025, W10 2025, W01 2026",
    "KW 51 2025, KW 2 2026",
    "31.12.2025, 01.01.2026, 02.01.2026",
    "01.02.2026, 02.02.2026, 01.03.2026",
    "12/31/2025, 01/01/2026, 02/01/2026",
    "31/12/2025, 01/01/2026, 02/01/2026",
    "30.11.25, 01.12.25, 02.01.26",
    "15.01., 16.01., 01.02.",
    "11-25, 12-25, 01-26",
    "2025-1, 2025-9, 2025-10",
    "2025_9, 2025_10",
    "112025, 122025, 012026",
    "31122025, 01012026",
    "301125, 011225, 010126",
    "2025-11, 12/2025, Jan 2026",
    "2025-12-31T23:00Z, 2026-01-01T05:30+05:00, 2026-01-01T00:45Z",
    "2026-10-25T02+02:00, 2026-10-25T02+01:00, 2026-10-25T03+01:00",
    "1767225600, 1767312000000",
    "berlin_2025-11, aachen_2025-12, berlin_2026-01",
    "Mon, Tue, Wed",
]
# Sorted as before: either they say no time, or sorting gives the order in time.
SORTED = [
    "w2, w9's, w10",
    "m00, m01, m10",
    "month_01, month_03, month_10",
    "alpha, beta",
    "2025-11, 2025-12, 2026-01",
    "month_2025-11, month_2026-01",
    "2026-01, 2026-01 (1), 2026-05_final",
    "202511, 202601",
    "20251130, 20260101",
    "251130, 260101",
    "200012, 200013, 200014",
    "2025-11, 2025-12, 2025-13",
    "1.2, 1.10",
    "2024, 2025",
]
UNCLEAR = [
    "Nov, Dec, Jan, Feb",
    "Q3, Q4, Q1",
    "Sat, Sun, Mon",
    "W51, W52, W1",
    "month_11, month_12, month_01",
    "01/02/2026, 02/01/2026",
    "10/11/12, 11/10/12",
    "2025-11, 2025-12, latest",
    "Jan, Feb 2026",
    "20251130, latest",
]


def names_of(case: str) -> list[str]:
    return case.split("|") if "|" in case else case.split(", ")


@pytest.mark.parametrize("case", TIMES)
def test_windows_are_in_the_order_of_the_times_that_they_name(case: str) -> None:
    """12/2025 is before 01/2026, in whatever way people write it."""
    names = names_of(case.replace("2026-Q10", "2026-Q2"))
    assert in_time_order(reversed(names)) == tuple(names)
    assert find_time_order(names).reading.startswith("dates")


@pytest.mark.parametrize("case", SORTED)
def test_other_names_keep_their_order(case: str) -> None:
    """Names of an installation that were in order stay in that order."""
    names = names_of(case)
    assert in_time_order(reversed(names)) == tuple(names)


@pytest.mark.parametrize("case", UNCLEAR)
def test_an_order_that_cannot_be_known_is_refused(case: str) -> None:
    """Nothing is trained on the future by a guess: the error shows a name that would be clear."""
    with pytest.raises(UnclearOrder, match=r"2025-12"):
        in_time_order(names_of(case))


def test_the_error_says_what_is_unclear() -> None:
    """Both names and both ways to read them, or what is missing, are in the sentence."""
    with pytest.raises(UnclearOrder, match=r"01/2026 .*\(day first\).*\(month first\)"):
        in_time_order(["01/02/2026", "02/01/2026"])
    with pytest.raises(UnclearOrder, match="names without a year"):
        in_time_order(["Nov", "Dec", "Jan"])
    with pytest.raises(UnclearOrder, match="2025-12, which is a time, and latest, which is none"):
        in_time_order(["2025-11", "2025-12", "latest"])


def test_how_names_were_read_is_told() -> None:
    """Where numbers could be read in several ways, the chosen one has a name."""
    assert find_time_order(["31/12/2025", "01/01/2026"]).reading == "dates, day first"
    assert find_time_order(["12/31/2025", "01/01/2026"]).reading == "dates, month first"
    assert find_time_order(["w2", "w10"]).reading == "names"


WAYS = [
    "%m/%Y",
    "%b %Y",
    "%B %Y",
    "%Y %b",
    "%Y-%m",
    "%Y%m",
    "%m%Y",
    "data-%m-%Y (final)",
    "%d.%m.%Y",
    "%Y/%m/%d",
    "%d %B %Y",
    "%B %d, %Y",
    "%G-W%V",
    "KW%V/%G",
    "%Y-%m-%dT%H:%M:%SZ",
]


@settings(max_examples=60)
@given(
    st.sampled_from(WAYS),
    st.dates(date(2001, 1, 1), date(2040, 1, 1)),
    st.integers(2, 30),
    st.sampled_from([32, 40, 100]),
    st.randoms(),
)
def test_dates_come_out_in_order_in_every_way_to_write_them(
    way: str, start: date, number: int, step: int, random: object
) -> None:
    """Whatever the way, the start and the order in which they come in."""
    names = [(start + timedelta(step) * place).strftime(way) for place in range(number)]
    mixed = list(names)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert in_time_order(mixed) == tuple(names)


@settings(max_examples=60)
@given(st.sets(st.text("01239-/ .QWnovja_", max_size=9), max_size=8), st.randoms())
def test_the_order_is_total_and_does_not_depend_on_how_names_come(
    names: set[str], random: object
) -> None:
    """Every name is there once, in one order or none, however they are handed over."""
    mixed = sorted(names)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    try:
        order = in_time_order(names)
    except UnclearOrder:
        with pytest.raises(UnclearOrder):
            in_time_order(mixed)
        return
    assert sorted(order) == sorted(names)
    assert in_time_order(mixed) == order
