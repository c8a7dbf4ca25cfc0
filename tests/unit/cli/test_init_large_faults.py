"""What is wrong with a large table is said as of a small one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from closedloop.cli.draft import large_table
from closedloop.errors import ClosedLoopError, SourceError
from tests.unit.cli.test_init_large import DAYS, LOOKED_AT, NUMBERS, ROWS, init, orders, write

pytestmark = pytest.mark.slow


def ragged(path: Path) -> None:
    """One more value in a line far behind."""
    lines = path.read_text().splitlines()
    lines[2_900] += ",7"
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (ragged, "line 2901 has 6 values, the header 5"),
        (lambda path: orders(returned=NUMBERS).to_csv(path), "looks like a quantity"),
        (
            lambda path: orders(month=DAYS).to_csv(path),
            "3000 values in 3000 rows",
        ),
    ],
)
def test_what_is_wrong_is_said_as_of_a_small_table(
    tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    """The same error, with the line or the values, and no file."""
    path = write(orders(), tmp_path, "csv")
    spoil(path)
    errors = []
    for looked_at in (LOOKED_AT, 10**9):
        with pytest.raises(ClosedLoopError) as raised:
            init(path, looked_at)
        errors.append(str(raised.value))
    assert said in errors[0]
    assert errors[0] == errors[1] or "quantity" in said
    assert not (tmp_path / "loop.toml").exists()


def test_a_file_that_shrinks_meanwhile_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts of another table than the one that was looked at are worth nothing."""
    path = write(orders(), tmp_path, "csv")
    first_window = large_table.LargeTable.first_window

    def shrink(table: large_table.LargeTable) -> int:
        orders(ROWS - 1).to_csv(path, index=False)
        return first_window(table)

    monkeypatch.setattr(large_table.LargeTable, "first_window", shrink)
    with pytest.raises(SourceError, match="3,000 rows that the table had a moment ago"):
        init(path, LOOKED_AT)
