"""Periods between the windows for which there is none, and the places that they leave free."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from closedloop.windows.missing import calendar_places, find_missing


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["2025-11", "2025-12", "2026-02", "2026-03"], ("2026-01",)),
        (["11/2025", "12/2025", "02/2026", "03/2026"], ("2026-01",)),
        (["Q1 2025", "Q2 2025", "Q4 2025", "Q1 2026"], ("2025-Q3",)),
        (["2026-W01", "2026-W02", "2026-W04", "2026-W05"], ("2026-01-12",)),
        ([f"2026-03-{day:02}" for day in (1, 2, 3, 5, 6)], ("2026-03-04",)),
        ([f"2026-03-01T{hour:02}" for hour in (1, 2, 4, 5)], ("2026-03-01T03:00",)),
        (["2023", "2024", "2025", "2026"], ()),
        # A Wednesday among Mondays to Fridays; names that keep no rhythm or are no dates.
        ([f"2026-03-{day:02}" for day in (2, 3, 4, 5, 6, 9, 10, 12, 13)], ("2026-03-11",)),
        (["2026-01", "2026-02", "2026-09"], ()),
        (["w1", "w2", "w4", "w5"], ()),
    ],
)
def test_a_gap_between_names_of_one_period(names: list[str], missing: tuple[str, ...]) -> None:
    """Months, quarters, weeks, days and hours; weekends are none."""
    assert find_missing(names) == missing


YEARS = [f"{year}-{month:02}" for year in range(2021, 2027) for month in range(1, 13)]


@pytest.mark.parametrize(
    ("names", "places"),
    [
        (YEARS, range(72)),
        (
            [name for name in YEARS if name not in ("2021-03", "2024-02")],
            [0, 1, *range(3, 37), *range(38, 72)],
        ),
        ([*YEARS[:12], *YEARS[24:]], [*range(12), *range(24, 72)]),
        (["Q1 2025", "Q2 2025", "Q4 2025", "Q1 2026"], [0, 1, 3, 4]),
        (
            [f"2026-03-{day:02}" for day in (2, 3, 4, 5, 6, 9, 10, 12, 13)],
            [0, 1, 2, 3, 4, 5, 6, 8, 9],
        ),
        (["31.01.2026", "01.02.2026", "02.02.2026", "04.02.2026", "05.02.2026"], [0, 1, 2, 4, 5]),
        # A copy has the place of its original, and so has the copy of a copy.
        (
            ["2026-01", "2026-01 (1)", "2026-01 (1) (1)", "2026-02", "2026-04", "2026-05"],
            [0, 0, 0, 1, 3, 4],
        ),
        # No dates, no rhythm, too few to tell: one after the other.
        (["w1", "w2", "w10", "w11"], range(4)),
        (["2026-01", "2026-02", "2026-09"], range(3)),
        (["2026-01", "2026-03"], range(2)),
        (["records_2026-03-02", "records_2026-03-01"], range(2)),
        (["2026-03", "2026-02", "2026-01"], range(3)),
        (["only"], [0]),
        ([], []),
    ],
)
def test_a_missing_window_takes_a_place(names: list[str], places: Sequence[int]) -> None:
    """So the twelfth place before a July is a July."""
    assert calendar_places(names) == tuple(places)


def test_a_year_back_is_the_same_month_whatever_is_missing() -> None:
    """Every fifth month is missing: of the others, the twelfth place before is the same month or
    nobody's."""
    names = [name for number, name in enumerate(YEARS) if number % 5 != 2]
    places = calendar_places(names)
    found = {
        name: names[places.index(place - 12)]
        for name, place in zip(names, places, strict=True)
        if place - 12 in places
    }
    assert len(found) > 30
    for name, before in found.items():
        assert before == f"{int(name[:4]) - 1}{name[4:]}"
