"""Empty and damaged windows: each is its own trouble, and the others are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from closedloop.turn.compute import Compute
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.use_case.source import Source
from closedloop.windows.files_source import FilesSource
from closedloop.windows.new_rows_source import NewRowsSource
from closedloop.windows.sources import UnreadableWindow
from tests.unit.windows.conftest import CONTENT, good_rows

EMPTY = "wanted at least one row, got no rows"


@pytest.mark.parametrize(
    ("ending", "content", "reason"),
    [
        ("csv", b"", EMPTY),
        ("csv", b"\xef\xbb\xbf\r\n", EMPTY),
        ("csv", b"id,fee,plan,level,label\n", EMPTY),
        ("csv.gz", b"", EMPTY),
        ("parquet", b"", EMPTY),
        ("parquet", b"PAR1 cut off", "(window) breaks the contract (file)"),
        ("csv.gz", b"\x1f\x8b\x08 cut off", "(window) breaks the contract (file)"),
    ],
)
def test_an_empty_or_damaged_window_breaks_the_contract_and_the_others_are_read(
    tmp_path: Path, ending: str, content: bytes, reason: str
) -> None:
    """It has no rows and one violation that says why; the window after it is read as ever."""
    good = good_rows()
    for name in ("w1", "w3"):
        if ending == "parquet":
            good.to_parquet(tmp_path / f"{name}.{ending}")
        else:
            good.to_csv(tmp_path / f"{name}.{ending}", index=False)
    (tmp_path / f"w2.{ending}").write_bytes(content)
    source = FilesSource(Source(windows=f"*.{ending}"), tmp_path)
    assert source.windows() == ("w1", "w2", "w3")
    use_case = parse_use_case(CONTENT, tmp_path / "loop.toml")
    read = {
        name: Compute().read_window(source, name, place, use_case, None)
        for place, name in enumerate(source.windows())
    }
    assert [(read[name].facts.rows, len(read[name].violations)) for name in read] == [
        (200, 0),
        (0, 1),
        (200, 0),
    ]
    (violation,) = read["w2"].violations
    told = f"(window) breaks the contract ({violation.rule}): {violation}"
    assert reason in f"{told}; wanted {violation.wanted}, got {violation.got}"


def test_an_empty_file_beside_others_that_one_column_cuts_into_windows(tmp_path: Path) -> None:
    """It adds no rows and stops nothing."""
    (tmp_path / "a.csv").write_text("month,x\n1,5\n2,6\n")
    (tmp_path / "b.csv").write_bytes(b"")
    source = FilesSource(Source(windows="*.csv", window_column="month"), tmp_path)
    assert source.windows() == ("1", "2")
    assert source.read("2")["x"].tolist() == ["6"]


def test_a_damaged_window_is_no_fault_of_those_after_it_that_hold_all_rows_so_far(
    tmp_path: Path,
) -> None:
    """With new_rows, reading a window reads those before it: the third has what the first lacks."""
    good = good_rows()
    for name, rows in {"w1": 50, "w3": 200}.items():
        good.head(rows).to_parquet(tmp_path / f"{name}.parquet")
    (tmp_path / "w2.parquet").write_bytes(b"PAR1 cut off")
    source = FilesSource(Source(windows="*.parquet"), tmp_path)
    new_rows = NewRowsSource(source, parse_use_case(CONTENT, tmp_path / "loop.toml"))
    assert new_rows.read("w3")["id"].tolist() == good["id"].tolist()[50:]
    with pytest.raises(UnreadableWindow):
        new_rows.read("w2")
