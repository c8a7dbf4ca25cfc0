"""The benchmark of rare classes still runs against the code that it measures."""

from __future__ import annotations

import pytest

from tests.bench.rare_classes import FAULTS, POSITIVES, WINDOWS, main, parse


def test_every_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """With one window each, both tables come out whole, with a line for every size and fault."""
    assert main(["--windows", "1"]) == 0
    tables = capsys.readouterr().out.strip().split("\n\n")[-1].splitlines()
    gates, quarantines = len(POSITIVES) + 2, 2 * len(WINDOWS) * len(FAULTS) + 2
    assert len(tables) == gates + quarantines


def test_nothing_to_measure_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A share of no window is no number: the command says so."""
    with pytest.raises(SystemExit):
        parse(["--windows", "0"])
    assert "at least 1" in capsys.readouterr().err
