"""`init` of a table with more rows than it looks at one by one writes what it would have written
had it looked at all of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.cli.draft import large_table, tally
from closedloop.cli.draft.windows import TimeOptions
from closedloop.cli.draft.write_use_case import Asked, write_use_case
from closedloop.errors import UseCaseError
from closedloop.use_case.loop_toml import load_use_case
from closedloop.windows.tables import chunk_reader, chunks
from tests.unit.cli.drafted import cycle

pytestmark = pytest.mark.slow

ROWS, LOOKED_AT = 3_000, 700
SAID = re.compile(
    r"(# )?looked at a sample of \d{3} of [23],\d{3} rows; counts, ranges, nulls and keys "
    r"are of all\n"
)

EXAMPLE = re.compile(r"(?:written like|such as|since 1970 \() ?(?:\"[^\"]*\"|\d+)")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks a table, or what is carried from one to the next would not be seen."""
    monkeypatch.setattr(chunk_reader, "CHUNK_ROWS", 400)
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 400)


def orders(rows: int = ROWS, **columns: Any) -> pd.DataFrame:
    """Orders of six months; a fifth of them came back."""
    draw = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "order_id": [f"o{number}" for number in range(rows)],
            "month": [f"2025-{1 + 6 * row // rows:02d}" for row in range(rows)],
            "amount": draw.lognormal(3, 1, rows).round(3),
            "channel": draw.choice(["web", "shop", "app"], rows),
            "returned": draw.choice(["no", "yes"], rows, p=[0.8, 0.2]),
            **columns,
        }
    )


def with_nulls(values: Any, null: Any, every: int) -> list[Any]:
    """The values, but `null` in each row of so many."""
    return [null if not row % every else value for row, value in enumerate(values)]


DRAW = np.random.default_rng(8)
NUMBERS = DRAW.normal(0, 50, ROWS).round(2)
DAYS = pd.date_range("2015-01-01", periods=ROWS).strftime("%Y-%m-%d")
SHAPES: dict[str, dict[str, Any]] = {
    "numbers with nulls in one month only": {
        "x": [None if 500 < row < 560 else number for row, number in enumerate(NUMBERS)]
    },
    "one outlier": {"x": [*NUMBERS[:-1], 1e9]},
    "a question mark among numbers": {"x": with_nulls(NUMBERS, "?", 37)},
    "two odd texts among numbers": {
        "x": with_nulls(with_nulls(NUMBERS, "n/a", 41), "see note", 900)
    },
    "missing is -999": {"x": with_nulls(abs(NUMBERS), -999, 9)},
    "amounts": {"x": [f"${abs(number):,.2f}" for number in 100 * NUMBERS]},
    "two currencies": {"x": [f"{'$€'[row % 7 == 0]}{row}.50" for row in range(ROWS)]},
    "per cent": {"x": [f"{abs(number):.1f}%" for number in NUMBERS]},
    "whole numbers of few values": {"x": cycle(list(range(12)), ROWS)},
    "mostly nulls": {"x": with_nulls([None] * ROWS, 4.5, 400)},
    "a constant": {"x": [7] * ROWS},
    "nearly a constant": {"x": [*[7] * (ROWS - 2), 8, 9]},
    "always null": {"x": [None] * ROWS},
    "nearly always null": {"x": [*[None] * (ROWS - 2), "a", "b"]},
    "codes": {"x": cycle(["01067", "1067", "10115"], ROWS)},
    "truth values": {"x": cycle([True, False, False], ROWS)},
    "a rare category": {"x": [*cycle(["a", "b"], ROWS - 1), "seen once"]},
    "words for null": {
        "x": with_nulls(with_nulls(cycle(["DE", "NA", "BW"], ROWS), "", 50), "None", 77)
    },
    "a mark that says nothing": {"x": with_nulls(cycle(["DE", "ZA"], ROWS), "-", 19)},
    "spellings in case": {"x": cycle(["Berlin", "berlin", "Bonn", "BONN ", "Ulm"], ROWS)},
    "many categories": {"x": [f"city {number}" for number in DRAW.integers(0, 60, ROWS)]},
    "free text": {"x": [f"note {number} of it" for number in range(ROWS)]},
    "dates": {"x": [f"2025-0{1 + row % 6}-1{row % 9}" for row in range(ROWS)]},
    "seconds since 1970": {"seen_at": 1_750_000_000 + 60 * np.arange(ROWS)},
    "days as digits": {"x": cycle([20250101, 20250102, 20250309, 20251231], ROWS)},
    "a counter": {"x": np.arange(ROWS) * 3 + DRAW.integers(0, 3, ROWS)},
    "the number of the row": {"x": np.arange(ROWS), "row_number": np.arange(ROWS)[::-1]},
    "an index that was sorted": {"__index_level_0__": DRAW.permutation(ROWS)},
    "an index of months": {"index": np.arange(ROWS) % 500},
    "ids of customers": {"customer_id": cycle([f"c{number}" for number in range(80)], ROWS)},
    "numbers that are ids": {"customer_id": DRAW.permutation(ROWS) + 10**6},
    "ids beyond 2^53": {"x": cycle([2**53 + number for number in range(9)], ROWS)},
}


def write(frame: pd.DataFrame, folder: Path, ending: str, **options: Any) -> Path:
    """The table as a file."""
    path = folder / f"shop.{ending}"
    if ending == "parquet":
        mixed = [name for name in frame if frame[name].dropna().map(type).nunique() > 1]
        frame.astype(dict.fromkeys(mixed, "string")).to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False, **options)
    return path


def init(path: Path, looked_at: float, **options: Any) -> tuple[str, list[str]]:
    """What is written and what is told, without how many rows were looked at."""
    out = path.parent / "loop.toml"
    wanted: dict[str, Any] = {"target": "returned", "window_column": "month", **options}
    _, notes = write_use_case(
        [path], Asked(out=out, force=True, most_looked_at=looked_at, **wanted)
    )
    text, told = out.read_text(encoding="utf-8"), "\n".join(notes)
    large = looked_at == LOOKED_AT
    assert bool(SAID.search(text)) == bool(SAID.search(told)) == large
    return SAID.sub("", text), SAID.sub("", told).splitlines()


def compare(path: Path, **options: Any) -> str:
    """Both ways write the same, but for the value that is shown as an example; what they write."""
    text, told = init(path, 10**9, **options)
    found = init(path, LOOKED_AT, **options)
    assert EXAMPLE.sub("", found[0]).splitlines() == EXAMPLE.sub("", text).splitlines()
    assert EXAMPLE.sub("", "\n".join(found[1])) == EXAMPLE.sub("", "\n".join(told))
    return found[0]


# All columns that are called x in one table; a column whose name says something has its own.
TABLES: dict[str, dict[str, Any]] = {
    "columns of every kind": {
        f"x{place}": shape["x"] for place, shape in enumerate(SHAPES.values()) if [*shape] == ["x"]
    },
    **{name: shape for name, shape in SHAPES.items() if [*shape] != ["x"]},
}


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("table", TABLES)
def test_a_sample_and_a_count_say_what_all_rows_say(
    tmp_path: Path, table: str, ending: str
) -> None:
    """Kinds, ranges, rates of nulls, categories, words, keys and minimums of more columns."""
    compare(write(orders(**TABLES[table]), tmp_path, ending))


WINDOWS: dict[str, dict[str, Any]] = {
    "one window": {"window_column": None},
    "months of a time": {"window_column": None, "times": TimeOptions("at")},
    "weeks of another clock": {
        "window_column": None,
        "times": TimeOptions("at", "week", "Europe/Berlin"),
    },
    "customers": {"group": "customer"},
    "customers in one window": {"group": "customer", "window_column": None},
    "the key that was named": {"key": "order_id"},
    "the class that was named": {"positive": "no"},
}


def timed(rows: int = ROWS) -> pd.DataFrame:
    """Orders with a time and a customer, who is not always known; the last month breaks off."""
    at = pd.Timestamp("2025-01-01") + pd.to_timedelta(
        np.arange(rows) * 170 * 24 * 60 // rows, "min"
    )
    customers = with_nulls(cycle([f"c{number}" for number in range(300)], rows), None, 90)
    written = with_nulls(at.strftime("%d.%m.%Y %H:%M").to_list(), None, 1_000)
    return orders(rows, at=written, customer=customers)


@pytest.mark.parametrize(
    ("cut", "ending"), [*((cut, "csv") for cut in WINDOWS), ("months of a time", "parquet")]
)
def test_windows_groups_and_keys_are_those_of_all_rows(
    tmp_path: Path, cut: str, ending: str
) -> None:
    """Windows cut by a time in a form that has to be found, one that is not over, groups, keys."""
    compare(write(timed(), tmp_path, ending), **WINDOWS[cut])


@pytest.mark.parametrize("share", [0.004, 0.02, 0.06])
@pytest.mark.parametrize("window_column", [None, "month"])
def test_the_minimums_are_those_of_all_rows(
    tmp_path: Path, share: float, window_column: str | None
) -> None:
    """Of a rare class, too, whose rows in the held-out part of the first window are counted."""
    returned = np.where(np.random.default_rng(3).random(ROWS) < share, "yes", "no")
    frame = orders(returned=returned)
    compare(write(frame, tmp_path, "csv"), window_column=window_column)
    no_key = frame.drop(columns="order_id").assign(returned=with_nulls(returned, None, 3))
    # The first month has rows, but labels begin later.
    no_key.loc[:900, "returned"] = None
    compare(write(no_key, tmp_path, "csv"), window_column=window_column)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("shop.csv", {"sep": ";", "decimal": ",", "encoding": "latin-1"}),
        ("shop.csv.gz", {"sep": "\t"}),
        ("shop.tsv", {"sep": "\t", "encoding": "utf-16"}),
    ],
)
def test_settings_of_a_file_are_found(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    """Decimal commas, another encoding, a compressed file."""
    frame = orders(city=cycle(["Zürich", "Genève", "Bern"], ROWS), price=NUMBERS)
    frame.to_csv(tmp_path / name, index=False, **options)
    text = compare(tmp_path / name)
    assert ('decimal = ","' in text) == ("decimal" in options)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("window_column", [None, "month"])
def test_a_folder_of_files(tmp_path: Path, ending: str, window_column: str | None) -> None:
    """Each file is a window, or a column cuts the rows of all."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for month, rows in orders(x=with_nulls(NUMBERS, "?", 37)).groupby("month"):
        write(rows, folder, ending).rename(folder / f"{month}.{ending}")
    compare(folder, window_column=window_column)


def test_many_texts_are_counted_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many to keep: words and nulls are still exact, how many there are is about right."""
    monkeypatch.setattr(large_table, "_MANY_TEXTS", 100)
    monkeypatch.setattr(tally, "_SKETCH", 256)
    places = [f"place {number}" for number in DRAW.integers(0, 1_200, ROWS)]
    frame = orders(x=with_nulls(with_nulls(places, "NA", 31), None, 17))
    text, told = init(write(frame, tmp_path, "csv"), LOOKED_AT)
    all_text, all_told = init(tmp_path / "shop.csv", 10**9)
    counted = re.compile(r"# (?:about )?([\d,]+) different values seen, too many to list")
    about, exact = (int(counted.findall(found)[0].replace(",", "")) for found in (text, all_text))
    assert abs(about / exact - 1) < 0.15
    assert counted.sub("", text) == counted.sub("", all_text)
    assert told == all_told


def test_a_key_that_repeats_once_is_no_key(tmp_path: Path) -> None:
    """The two rows need not be in the sample, nor near each other."""
    ids = [f"o{number}" for number in range(ROWS)]
    ids[420] = ids[3]
    path = write(orders(order_id=ids), tmp_path, "csv")
    assert load_use_case_of(path).key is None
    with pytest.raises(UseCaseError, match="never null and unique within a window"):
        init(path, LOOKED_AT, key="order_id")
    ids[420], ids[2_900] = "o420", ids[3]  # in another window
    assert load_use_case_of(write(orders(order_id=ids), tmp_path, "csv")).key == "order_id"


def load_use_case_of(path: Path) -> Any:
    """What is written of a table that is large."""
    init(path, LOOKED_AT)
    return load_use_case(path.parent / "loop.toml")
