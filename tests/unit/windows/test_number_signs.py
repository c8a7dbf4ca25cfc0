"""Decimal and thousands signs are those of the file: 0,125 is never 125."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pytest

from closedloop.use_case.loop_toml import parse_use_case
from closedloop.use_case.source import Source
from closedloop.windows.contract_check import check_contract
from closedloop.windows.open_source import open_source
from closedloop.windows.prepare import prepare
from closedloop.windows.tables.number_signs import plain_numbers
from closedloop.windows.written_numbers import read_number

UNREADABLE = math.nan
WRITTEN = [
    # text, its number with a decimal comma, and with points between thousands as well
    ("0,125", 0.125, 0.125),
    ("1.234,56", 1234.56, 1234.56),
    ("-1.234.567,8", -1234567.8, -1234567.8),
    ("12", 12.0, 12.0),
    ("12345,6", 12345.6, 12345.6),
    (",5", 0.5, 0.5),
    ("1,5E3", 1500.0, 1500.0),
    ("1 234,5", 1234.5, 1234.5),
    ("1\u202f234,56\u00a0€", 1234.56, 1234.56),
    ("1'234,5", 1234.5, 1234.5),
    ("(1.234,50)", -1234.5, -1234.5),
    ("kr. 3,50", 3.5, 3.5),
    ("12,5 %", 12.5, 12.5),
    ("1.125", UNREADABLE, 1125.0),
    ("12.345.678", UNREADABLE, 12345678.0),
    ("0.125", UNREADABLE, UNREADABLE),
    ("1.5", UNREADABLE, UNREADABLE),
    ("1,234.50", UNREADABLE, UNREADABLE),
    ("1,234,567", UNREADABLE, UNREADABLE),
    ("12.34,5", UNREADABLE, UNREADABLE),
    ("01.09.2025", UNREADABLE, UNREADABLE),
    ("Köln, Mitte", UNREADABLE, UNREADABLE),
]


@pytest.mark.parametrize(("text", "alone", "grouped"), WRITTEN)
def test_a_decimal_comma(text: str, alone: float, grouped: float) -> None:
    """A value that does not fit the signs of its file is no number, whatever it would be
    elsewhere."""
    for thousands, wanted in (("", alone), (".", grouped)):
        # Both ways: among values that are plain, and where every value has to be looked at.
        for others in ([], ["1.234,5", "x"]):
            found = plain_numbers(pa.array([text, *others]), ",", thousands)[0].as_py()
            number = read_number(found)
            assert number == wanted or (math.isnan(number) and math.isnan(wanted)), found


def test_a_decimal_point_is_left_to_the_reader_of_values() -> None:
    """Nothing is rewritten: 1,234.50 has its meaning already."""
    texts = pa.array(["1,234.50", "0,5", None])
    assert plain_numbers(texts, ".", "").equals(texts)


def window_of(folder: Path, text: str, **settings: str) -> list[str]:
    """The violations of a window with these lines, and nothing else wrong with it."""
    (folder / "m.csv").write_text(text, encoding="utf-8")
    use_case = parse_use_case(
        {
            "name": "t",
            "source": {"windows": "*.csv", "delimiter": ";", "decimal": ",", **settings},
            "target": {"column": "y", "classes": ["a", "b"]},
            "columns": {"x": {"type": "numeric"}, "z": {"type": "categorical"}},
        },
        folder / "loop.toml",
    )
    raw = open_source(use_case).read("m")
    return [str(violation) for violation in check_contract(raw, prepare(raw, use_case), use_case)]


@pytest.mark.parametrize(
    ("lines", "thousands", "said"),
    [
        (["1,5;1,5;a"] * 5, "", ""),
        (["1.125,5;1.5;a", "2.500;1.5;b"] * 5, ".", ""),
        (["1.5;1,5;a"] * 5, "", "such as '1.5 where the decimal sign is ,'"),
        (["1,5;q;a"] * 50 + ["1.5;q;b"] * 5, "", "9.1 % not numbers"),
        # A month of another program: points, and a comma nowhere.
        (["1.125;q;a", "2.250;q;b"] * 5, ".", "such as '1.125 where the decimal sign is ,'"),
        (["1125;q;a", "2250;q;b"] * 5, ".", ""),
    ],
)
def test_mixed_signs_break_the_contract(
    tmp_path: Path, lines: list[str], thousands: str, said: str
) -> None:
    """A window with other signs than loop.toml says is broken, not a thousand times as large."""
    found = window_of(tmp_path, "\n".join(["x;z;y", *lines]) + "\n", thousands=thousands)
    assert len(found) == bool(said)
    assert said in "".join(found)


def test_what_is_no_number_keeps_its_text(tmp_path: Path) -> None:
    """Target and categories are not rewritten, and `null_values` are nulls in every column."""
    path = tmp_path / "t.csv"
    path.write_text("x;z;y\n1,5;1,5;0,5\n?;?;-\n", encoding="utf-8")
    from closedloop.windows.tables.chunks import read_table

    source = Source(windows="*", delimiter=";", decimal=",", null_values=("?", "-"))
    frame = read_table(path, source, ["x"])
    assert frame.iloc[0].tolist() == [1.5, "1,5", "0,5"]
    assert frame.iloc[1].isna().all()
