"""What `init` makes of numbers, codes, dates and what is no single value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.errors import UseCaseError
from closedloop.use_case.contract import MISSING
from tests.unit.cli.drafted import ROWS, cycle, draft, table

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(2)
DAYS = pd.Series(pd.to_datetime("2025-09-01") + pd.to_timedelta(RNG.integers(0, 90, ROWS), "D"))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize(
    "codes",
    [["01067", "1067", "10115"], ["007", "07", "7"], ["1E3", "12E4", "1000"], ["0x1F", "1F", "31"]],
)
def test_codes_that_look_like_numbers_stay_as_written(
    tmp_path: Path, ending: str, codes: list[str]
) -> None:
    """01067 and 1067 are two places: text with leading zeros, an E between digits or hexadecimal
    is a category, from CSV and from Parquet."""
    found = draft(table(cycle(codes)), tmp_path, ending)
    assert found.x.allowed == tuple(sorted(codes))
    assert found.prepared()["x"].tolist() == cycle(codes)


def test_ids_beyond_2_to_53_are_exact(tmp_path: Path) -> None:
    """Eight 64-bit ids that differ in their last digit are eight categories, also beside nulls."""
    ids = [2**53 + number for number in range(1, 9)]
    frame = table(cycle([*ids, None])).assign(x=lambda rows: rows["x"].astype("Int64"))
    found = draft(frame, tmp_path, "parquet")
    assert found.x.allowed == tuple(map(str, ids))
    assert set(found.prepared()["x"]) == {*map(str, ids), MISSING}
    assert "beyond 2^53" in found.notes


def test_whole_numbers_of_few_values_are_numbers_with_a_doubt(tmp_path: Path) -> None:
    """Store 1 to 12 is numeric, and a comment names the line to change."""
    found = draft(table(cycle(list(range(1, 13)))), tmp_path)
    assert (found.x.type, found.x.maximum) == ("numeric", 23)
    assert '12 values: if these are codes, write type = "categorical"' in found.text
    assert "if these are codes" not in draft(table(cycle(list(range(90)))), tmp_path).text


@pytest.mark.parametrize(
    ("write", "values", "comment"),
    [
        (lambda value: f"{value}%", range(60), "per cent as written"),
        (lambda value: f"({-value:,.2f})", range(-90000, -1000, 700), ""),
        (lambda value: f"{-value:,}-", range(-9000, -10, 70), ""),
        (lambda value: f"{value:,.2f}", range(1000, 90000, 700), ""),
        (lambda value: f"{value:,.2f}".replace(",", "'"), range(1000, 90000, 700), ""),
        (lambda value: f"{value:,}".replace(",", " "), range(1000, 90000, 700), ""),
        (lambda value: f"{value:,}".replace(",", "\u202f"), range(1000, 90000, 700), ""),
        (lambda value: f"USD {value}.00", range(60), "amounts in USD"),
        (lambda value: f"{value}.00\u00a0\u20ac", range(60), "amounts in EUR"),
    ],
)
def test_numbers_as_people_write_them_are_numbers(
    tmp_path: Path, write: Callable[[int], str], values: range, comment: str
) -> None:
    """Per cents, brackets and a trailing sign for minus, marks between thousands, currencies."""
    given = cycle(list(values))
    found = draft(table([write(value) for value in given]), tmp_path)
    assert found.x.type == "numeric"
    assert found.prepared()["x"].tolist() == given
    assert comment in found.notes


def test_a_lone_zero_leads_no_thousands(tmp_path: Path) -> None:
    """0,125 is never 125: without a decimal comma in [source] it is no number at all."""
    texts = [f"{number % 10},{number:03d}" for number in RNG.integers(100, 999, ROWS)]
    found = draft(table(texts), tmp_path, "parquet")
    assert "x" not in found.use_case.columns or found.x.type == "categorical"


def test_several_currencies_are_no_column(tmp_path: Path) -> None:
    """Amounts in dollars and euros cannot be compared, so they are left out with the shares."""
    found = draft(table(cycle(["USD 5.10", "$7.25", "EUR 6.40", "3.99"])), tmp_path)
    assert "x" not in found.use_case.columns
    assert "several currencies (USD in 120 rows (50 %), EUR in 60 rows (25 %))" in found.notes


@pytest.mark.parametrize("sign", ["?", "-", "--", ".", "n/a", "Unknown", "#DIV/0!"])
def test_signs_for_no_number_are_nulls_that_are_told(tmp_path: Path, sign: str) -> None:
    """A few '?' among ages do not make categories of them; which and how many is told."""
    ages: list[Any] = [str(age) for age in RNG.integers(18, 80, ROWS)]
    for row in range(0, ROWS, 40):
        ages[row] = sign
    found = draft(table(ages), tmp_path)
    assert (found.x.type, found.x.minimum) == ("numeric", 0)
    assert found.x.max_null_rate > 0.05
    assert f'"{sign}" in 6 rows (2.5 %)' in found.notes
    assert found.prepared()["x"].isna().sum() == 6


def test_a_few_other_texts_among_numbers_are_allowed_for(tmp_path: Path) -> None:
    """'closed' in two per cent of the rows counts as null, and keeps the contract."""
    visits = ["closed" if row % 50 == 7 else str(3 * row) for row in range(ROWS)]
    found = draft(table(visits), tmp_path)
    assert (found.x.type, found.x.max_bad_rate) == ("numeric", 0.05)
    assert found.prepared()["x"].isna().sum() == 5
    assert '"closed" in 5 rows (2.1 %)' in found.notes
    grades = draft(table(cycle(["1", "2", "A", "B"])), tmp_path)
    assert grades.x.allowed == ("1", "2", "A", "B")


@pytest.mark.parametrize(
    ("far", "rest", "told"),
    [
        (-999, range(1000, 9000, 37), True),
        (9999, range(100), True),
        (-1, range(90), True),
        (0, range(60, 200), True),
        (99, range(98), False),
        (0, range(1, 90), False),
        (90, range(89), False),
    ],
)
def test_a_value_far_from_the_rest_gets_a_comment(
    tmp_path: Path, far: int, rest: range, told: bool
) -> None:
    """-999 in a tenth of the rows may mean missing; zeros among counts do not."""
    values = [far if row % 10 == 0 else value for row, value in enumerate(cycle(list(rest)))]
    found = draft(table(values), tmp_path)
    assert ("far from the rest" in found.notes) == told
    assert not told or f'null_values = ["{far}"] under [source]' in found.text


def test_the_advice_on_a_far_value_would_work(tmp_path: Path) -> None:
    """It has the text as the file writes it, and no setting that empties another column too."""
    values = [-999.0 if row % 10 == 0 else float(value) for row, value in enumerate(range(ROWS))]
    assert 'null_values = ["-999.0"]' in draft(table(values), tmp_path).text
    other = cycle(["-999.0", "5", "6", "7", "8"])
    both = draft(table(values, other=other), tmp_path)
    assert "if it means missing, make it null in the data" in both.text
    assert "null_values" not in both.text


@pytest.mark.parametrize(
    "write",
    [
        "%d.%m.%Y",
        "%m/%d/%Y",
        "%Y/%m/%d",
        "%Y%m%d",
        "%Y%m",
        "%Y-%m",
        "%b %Y",
        "%d %b %Y",
        "%B %d, %Y",
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y-%m-%d %H:%M:%S+02:00",
        "%d/%m/%y",
        "%Y-W%W",
        "seconds",
        "milliseconds",
        "microseconds",
    ],
)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_dates_in_any_form_are_left_out(tmp_path: Path, write: str, ending: str) -> None:
    """As features dates only grow, so every window would drift: they are left out, with a reason
    that shows how they are written."""
    ordered = DAYS.sort_values().reset_index(drop=True)
    scale = {"seconds": 10**9, "milliseconds": 10**6, "microseconds": 10**3}.get(write)
    x = (
        ordered.astype("datetime64[ns]").astype("int64") // scale
        if scale
        else ordered.dt.strftime(write)
    )
    found = draft(table(x.tolist()).assign(x=x), tmp_path, ending)
    assert list(found.use_case.columns) == ["plain"]
    assert 'left out: "x" is a date or time' in found.notes


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("order_date", range(45_000, 45_000 + ROWS), "in days since 1900 (45000 is 2023-03-15)"),
        ("order_date", [250_901 + row % 20 for row in range(ROWS)], "written like 250901"),
        ("x", [f"{row // 60:02d}:{row % 60:02d}" for row in range(ROWS)], "a time of the day"),
    ],
)
def test_dates_of_spreadsheets_and_times_of_the_day_are_left_out(
    tmp_path: Path, name: str, values: Any, why: str
) -> None:
    """Numbers that only a name tells apart from others, and what would be many categories."""
    found = draft(table(values).rename(columns={"x": name}), tmp_path)
    assert why in found.notes
    assert list(found.use_case.columns) == ["plain"]


def test_possible_seconds_get_a_comment(tmp_path: Path) -> None:
    """Numbers in the range of today's epoch seconds, with nothing else that speaks for a time."""
    found = draft(table(RNG.integers(17 * 10**8, 19 * 10**8, ROWS).tolist()), tmp_path)
    assert found.x.type == "numeric"
    assert "could be seconds since 1970" in found.text


def test_numbers_with_a_decimal_comma_are_named(tmp_path: Path) -> None:
    """In the texts of a Parquet file no setting says what the comma is."""
    texts = [f"{number:,.2f}".translate({44: 46, 46: 44}) for number in RNG.uniform(0, 9e4, ROWS)]
    found = draft(table(texts), tmp_path, "parquet")
    assert 'left out: "x" is numbers with a decimal comma' in found.notes


def test_dates_of_parquet_are_left_out(tmp_path: Path) -> None:
    """Timestamps with and without a zone, and dates, as Arrow stores them."""
    frame = table(range(ROWS)).assign(
        x=DAYS, zoned=DAYS.dt.tz_localize("Europe/Berlin"), day=DAYS.dt.date
    )
    found = draft(frame, tmp_path, "parquet")
    assert list(found.use_case.columns) == ["plain"]
    assert found.notes.count("is a date or time") == 3


@pytest.mark.parametrize(
    "values",
    [
        RNG.integers(650_000_000, 4_000_000_000, ROWS),
        RNG.integers(199_000, 210_000, ROWS),
        RNG.integers(19_900_000, 21_000_000, ROWS),
        RNG.integers(2019, 2025, ROWS),
        RNG.normal(200_000, 3_000, ROWS).round(2),
    ],
    ids=["revenue", "six digits", "eight digits", "years", "fractions"],
)
def test_numbers_that_could_be_dates_stay_numbers(tmp_path: Path, values: Any) -> None:
    """A range alone makes no date of genuine numbers."""
    assert draft(table(values.tolist()), tmp_path).x.type == "numeric"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([1.5, 2.5], "lists"),
        ({"a": 1, "b": "x"}, "objects with fields"),
        (b"\x00\xff", "bytes"),
    ],
)
def test_values_with_parts_are_left_out_and_are_no_target(
    tmp_path: Path, value: Any, why: str
) -> None:
    """Lists, structs and bytes of Parquet files."""
    found = draft(table([value] * ROWS), tmp_path, "parquet")
    assert f'left out: "x" is {why}' in found.notes
    with pytest.raises(UseCaseError, match=why):
        draft(table([value] * ROWS), tmp_path, "parquet", target="x")
    texts = draft(table(cycle(["[1, 2]", '{"a": 1}', "[]"])), tmp_path)
    assert "lists or objects written as text" in texts.notes


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "__index_level_0__", "index", "row_number"])
def test_the_index_as_a_column_is_left_out(tmp_path: Path, name: str) -> None:
    """Growing whole numbers under the name of an index, also when each window counts anew."""
    kept, anew = np.sort(RNG.choice(1000, ROWS, replace=False)), np.arange(ROWS) % (ROWS // 3)
    for numbers in (kept, anew):
        found = draft(table(range(ROWS)).assign(x=numbers).rename(columns={"x": name}), tmp_path)
        assert list(found.use_case.columns) == ["plain"]
        assert "the index of a frame or the number of a row" in found.notes


def test_numbers_in_no_order_are_an_index_only_under_a_name_of_programs(tmp_path: Path) -> None:
    """A frame whose rows were sorted by something else; a column that people call index is kept."""
    mixed = RNG.permutation(ROWS) * 3
    for name, kept in (("__index_level_0__", False), ("index", True)):
        frame = table(range(ROWS)).assign(x=mixed).rename(columns={"x": name})
        assert (name in draft(frame, tmp_path).use_case.columns) == kept


def test_comments_are_toml_whatever_the_values_are(tmp_path: Path) -> None:
    """Line breaks and quotes in values cannot leave the comment that shows them."""
    hostile = ['a"\n[policy]', 'A"\n[policy]', "\x7f\r", "None", "# x\x00", "?"]
    found = draft(table(cycle(hostile), other=cycle(["", "b", "c"])), tmp_path, "parquet")
    assert set(found.x.allowed) >= {'a"\n[policy]', "None", "?"}
