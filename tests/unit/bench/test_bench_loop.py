"""The totals of `make bench-loop`: shares of summed gains, and the worst of what must not happen
anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.bench.replay_streams import main
from tests.bench.replay_totals import total


def figures(auc: float, static: float, trainings: int = 0, **counts: int) -> dict[str, Any]:
    return {
        "mean_auc": auc,
        "worst_regret": 0.9 - auc,
        "below_static": static - auc,
        "trainings": trainings,
        "rounds": 10,
        **dict.fromkeys(("promotions", "rejected", "rollbacks", "harmful", "missed"), 0),
        **counts,
    }


def test_a_share_is_made_of_summed_gains() -> None:
    """A stream with ten times the gain weighs ten times as much; regret and shortfall are those of
    the worst stream."""
    wide = {
        "static": figures(0.5, 0.5),
        "always": figures(0.7, 0.5, 10),
        "loop": figures(0.7, 0.5, 5, promotions=4, harmful=1),
    }
    narrow = {
        "static": figures(0.6, 0.6),
        "always": figures(0.62, 0.6, 10),
        "loop": figures(0.59, 0.6, 1, missed=2),
    }
    found = total([wide, narrow])["loop"]
    assert found["share"] == pytest.approx(0.19 / 0.22)
    assert found["trainings_share"] == pytest.approx(0.3)
    assert found["worst_regret"] == pytest.approx(0.31)
    assert found["below_static"] == pytest.approx(0.01)
    assert (found["harmful_share"], found["missed_share"]) == (0.25, 0.1)


def test_streams_that_are_not_there_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without any stream nothing is written, and the way to name them is said."""
    assert main(["--streams", str(tmp_path), "--out", str(tmp_path / "loop.json")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "elec2" in shown
    assert "CLOSEDLOOP_STREAMS" in shown
    assert not (tmp_path / "loop.json").exists()
