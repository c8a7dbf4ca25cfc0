"""What `closedloop doctor` says about copies, empty files, gaps and windows of unusual size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from closedloop.cli.examine.windows import window_checks
from closedloop.errors import SourceError
from closedloop.settings import Settings
from closedloop.turn.open import Loop
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.use_case.source import Source
from closedloop.windows.files_source import FilesSource
from tests.unit.streams import CONTENT, make_frame


def month(number: int, rows: int = 500) -> pd.DataFrame:
    """One month of orders with keys of their own."""
    return make_frame(number, rows=rows).assign(
        order=[f"o{number}-{place}" for place in range(rows)]
    )


def open_folder(folder: Path, key: str | None = "order") -> Loop:
    """A loop on the files of a folder."""
    content = {**CONTENT, "source": {"windows": "*.csv"}, **({"key": key} if key else {})}
    nothing: Any = None
    use_case = parse_use_case(content, folder / "loop.toml")
    source = FilesSource(Source(windows="*.csv"), folder)
    return Loop(use_case, Settings(home=folder), source, nothing, nothing, nothing, nothing)


def examine(folder: Path, key: str | None = "order") -> dict[str, str]:
    """What each check says, or the whole error."""
    told = {}
    for check, look in window_checks(open_folder(folder, key)):
        try:
            told[check] = look()
        except SourceError as error:
            told[check] = f"FAIL {error}"
    return told


def test_copies_empty_files_a_gap_and_a_small_month_are_told(tmp_path: Path) -> None:
    """Each by its name and number, with what to do; copies and empty windows fail."""
    for number in (1, 5):
        month(number).to_csv(tmp_path / f"2026-0{number}.csv", index=False)
    month(1).to_csv(tmp_path / "2026-01 (1).csv", index=False)
    month(5, rows=700).to_csv(tmp_path / "2026-05_final.csv", index=False)
    month(6, rows=40).to_csv(tmp_path / "2026-06.csv", index=False)
    month(2).head(0).to_csv(tmp_path / "2026-02.csv", index=False)
    (tmp_path / "2026-03.csv").write_bytes(b"")
    (tmp_path / "._2026-01.csv").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / ".~lock.2026-01.csv#").write_bytes(b"")
    assert examine(tmp_path) == {
        "copies": "FAIL windows: wanted each window once, got 2026-01 (1), by its name a copy of "
        "2026-01; 2026-05_final, by its name a copy of 2026-05: move one of each two out of the "
        "folder, or narrow `windows` in [source]",
        "empty windows": "FAIL windows 2026-02, 2026-03: wanted at least one row in each, got "
        "none: export them again, or move them out of the folder; a turn on such a window asks a "
        "person, and the others are looked at as ever",
        "gaps and sizes": "no 2026-04 between other windows: if there is such a file, add it; "
        "2026-06 has 40 of the usual 500 rows: if it is not finished, keep it out of the folder "
        "until it is; 2 hidden or lock files beside the windows are not read",
    }


def test_a_folder_without_odd_windows_has_nothing_to_tell(tmp_path: Path) -> None:
    """Months of their own rows, and of half the size, are no findings."""
    for number, rows in ((1, 500), (2, 250), (3, 520)):
        month(number, rows).to_csv(tmp_path / f"2026-0{number}.csv", index=False)
    assert examine(tmp_path) == {
        "copies": "no window is a copy of another",
        "empty windows": "every window has rows",
        "gaps and sizes": "no window is missing or unusually small",
    }


@pytest.mark.parametrize("key", ["order", None])
def test_a_copy_under_a_name_of_its_own_is_told(tmp_path: Path, key: str | None) -> None:
    """The rows of January once more, in another order, under the name of February."""
    month(1).to_csv(tmp_path / "2026-01.csv", index=False)
    month(1).sample(frac=1, random_state=1).to_csv(tmp_path / "2026-02.csv", index=False)
    month(3).to_csv(tmp_path / "2026-03.csv", index=False)
    assert "got 2026-02, with the rows of 2026-01: move one" in examine(tmp_path, key)["copies"]
