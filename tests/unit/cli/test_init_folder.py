"""`closedloop init` of a folder, or of several files: which are windows, and what is written."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from closedloop.cli.app import main
from closedloop.use_case.loop_toml import load_use_case
from closedloop.windows.open_source import open_source

pytestmark = pytest.mark.slow

ROWS = 80
MONTHS = ("2025-12", "2026-01", "2026-02", "2026-03")
Init = Callable[..., tuple[int, str]]


def orders(month: str = "2026-01") -> pd.DataFrame:
    """Orders of one month, with ids of their own."""
    rng = np.random.default_rng(int(month.replace("-", "")))
    return pd.DataFrame(
        {
            "order_id": [f"{month}/{number}" for number in range(ROWS)],
            "amount": rng.normal(50, 9, ROWS).round(2) + 0.001,
            "returned": rng.choice(["no", "yes"], ROWS),
        }
    )


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with a file for each of four months."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for month in MONTHS:
        orders(month).to_csv(folder / f"{month}.csv", index=False)
    return folder


@pytest.fixture
def init(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Init:
    """Runs `init`: its exit code, and all that is printed."""

    def run(*arguments: object) -> tuple[int, str]:
        out = tmp_path / "loop.toml"
        given = [*map(str, arguments), "--target", "returned", "--out", str(out)]
        code = main(["init", *given], {"COLUMNS": "300"})
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


def windows_of(folder: Path) -> tuple[str, ...]:
    return open_source(load_use_case(folder / "loop.toml")).windows()


@pytest.mark.parametrize("named", [(), MONTHS])
def test_the_files_of_a_folder_are_windows_in_the_order_of_time(
    shop: Path, init: Init, tmp_path: Path, named: tuple[str, ...]
) -> None:
    """A folder, or its files named one by one; the pattern matches the months of later years."""
    code, said = init(*([shop / f"{month}.csv" for month in reversed(named)] or [shop]))
    assert code == 0
    assert "4 windows in time order: 2025-12 to 2026-03" in said
    written = tomllib.loads((tmp_path / "loop.toml").read_text())
    assert (written["name"], written["key"]) == ("shop", "order_id")
    assert written["source"] == {"kind": "files", "root": "shop", "windows": "20*.csv"}
    orders().to_csv(shop / "2027-01.csv", index=False)
    orders().to_csv(shop / "results.csv", index=False)
    assert windows_of(tmp_path) == (*MONTHS, "2027-01")


def test_what_is_no_window_is_told_and_left_out(shop: Path, init: Init, tmp_path: Path) -> None:
    """Hidden files, copies, empty files, other columns, names without a time; a new column."""
    (shop / "._2026-02.csv").write_bytes(b"\0\5\26\7")
    orders().to_csv(shop / "2026-01 (1).csv", index=False)
    (shop / "2026-04.csv").write_text("")
    (shop / "2026-05.csv").write_text("order_id,amount,returned\n")
    (shop / "labels.csv").write_text("id,label\n1,2\n")
    orders().to_csv(shop / "all.csv", index=False)
    orders("2026-06").assign(channel="web").to_csv(shop / "2026-06.csv", index=False)
    (shop / "readme.txt").write_text("Orders.")
    code, said = init(shop)
    assert code == 0
    assert "5 windows in time order: 2025-12 to 2026-06" in said
    for told in (
        "left out: ._2026-02.csv: hidden",
        "left out: 2026-01 (1).csv: a copy of 2026-01",
        "left out: 2026-04.csv, 2026-05.csv: empty",
        "left out: labels.csv: other columns, without order_id, amount, returned",
        "left out: all.csv: its name speaks of no time",
        "left out: channel is only in 2026-06.csv",
        'windows = "20*.csv" also matches 2026-01 (1).csv, 2026-04.csv, 2026-05.csv: move',
    ):
        assert told in said
    assert list(load_use_case(tmp_path / "loop.toml").columns) == ["amount"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"sep": ";"}, "2026-01.csv: wanted delimiter ',', as in the other files, got delimiter"),
        ({"decimal": ",", "sep": ","}, "2026-01.csv: amount: wanted numbers whose decimal sign is"),
    ],
)
def test_a_file_that_is_written_in_another_way_is_named(
    shop: Path, init: Init, tmp_path: Path, options: dict[str, str], named: str
) -> None:
    """What is found on one file fits all, or the one that it does not fit is named."""
    orders().to_csv(shop / "2026-01.csv", index=False, **options)
    code, said = init(shop)
    assert (code, (tmp_path / "loop.toml").exists()) == (3, False)
    assert named in said


def test_files_cut_by_a_column_are_read_together(shop: Path, init: Init, tmp_path: Path) -> None:
    """The order of the files means nothing then, and none of them is left unread."""
    for place, month in enumerate(MONTHS):
        (shop / f"{month}.csv").unlink()
        orders(month).assign(month=month).to_csv(shop / f"part{9 - place}.csv", index=False)
    code, said = init(shop, "--window-column", "month")
    assert code == 0
    assert "4 files are read together" in said
    assert "4 windows, 2025-12 to 2026-03" in said
    assert windows_of(tmp_path) == MONTHS


@pytest.mark.parametrize(
    ("file", "options", "name"),
    [
        ("2026-01.csv", (), "shop"),
        ("Jan 2026.csv", (), "shop"),
        ("data.csv", (), "shop"),
        ("orders.csv", (), "orders"),
        ("orders_2026.csv", (), "orders_2026"),
        ("orders.csv", ("--name", "returns"), "returns"),
    ],
)
def test_a_use_case_is_named_after_what_says_most(
    init: Init, tmp_path: Path, file: str, options: tuple[str, ...], name: str
) -> None:
    """The file, its folder when the file is called after a window or 'data', or as asked."""
    (tmp_path / "shop").mkdir()
    orders().to_csv(tmp_path / "shop" / file, index=False)
    assert init(tmp_path / "shop" / file, *options)[0] == 0
    assert load_use_case(tmp_path / "loop.toml").name == name


def test_a_folder_with_one_table_is_that_table(init: Init, tmp_path: Path) -> None:
    """The same lines as for the file, also the one that is edited later."""
    (tmp_path / "shop").mkdir()
    orders().to_csv(tmp_path / "shop" / "2026-01.csv", index=False)
    assert init(tmp_path / "shop")[0] == 0
    of_folder = (tmp_path / "loop.toml").read_text()
    assert init(tmp_path / "shop" / "2026-01.csv", "--force")[0] == 0
    assert (tmp_path / "loop.toml").read_text() == of_folder
    assert '\nwindows = "2026-01.csv"\n' in of_folder


def test_a_folder_without_tables_does_not_suggest_itself(init: Init, tmp_path: Path) -> None:
    """It names a folder inside, or asks for files."""
    (tmp_path / "shop" / "months").mkdir(parents=True)
    code, said = init(tmp_path / "shop")
    assert code == 3
    assert f"name the folder that holds them, such as {tmp_path / 'shop' / 'months'}" in said
    code, said = init(tmp_path / "shop" / "months")
    assert "got an empty folder: put the files into it, or name another folder" in said
    assert "did you mean" not in init(tmp_path / "shops")[1]
