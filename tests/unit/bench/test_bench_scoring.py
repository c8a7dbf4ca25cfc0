"""The benchmark of the gate's statistics still runs against the code that it measures."""

from __future__ import annotations

import pytest

from tests.bench.scoring import CUSTOMERS, LOSS_ROWS, SIZES, SLICES, main, parse


def test_every_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """On a small window and with one comparison each, all five tables come out whole, with a line
    for every size asked for."""
    assert main(["--rows", "1000", "--repetitions", "1", "--comparisons", "1"]) == 0
    tables = capsys.readouterr().out.split("\n\n")
    assert tables[1].count("measure_delta") == 2
    assert [len(table.strip().splitlines()) - 2 for table in tables[2:]] == [
        len(SIZES),
        len(SLICES),
        2 * len(LOSS_ROWS),
        4 * len(CUSTOMERS),
    ]


def test_nothing_to_measure_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """No repetition gives no median: the command says so instead of failing half way."""
    with pytest.raises(SystemExit):
        parse(["--repetitions", "0"])
    assert "at least 1" in capsys.readouterr().err
