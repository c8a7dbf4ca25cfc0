"""The totals of `make bench-loop`: shares of summed gains, and the worst of what must not happen
anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.bench.replay_streams import main
from tests.bench.replay_totals import (
    SCHEDULES,
    add_over_schedule,
    measure_over_schedule,
    total,
)


def figures(
    auc: float, static: float, trainings: int = 0, over: float | None = None, **counts: int
) -> dict[str, Any]:
    return {
        "mean_auc": auc,
        "over_schedule": over,
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


@pytest.mark.parametrize(
    ("share", "trainings", "over"),
    [(0.5, 2, 0.1), (0.9, 6, 0.1), (0.2, 0, 0.2), (1.2, 10, 0.2), (0.6, 4, 0.0)],
)
def test_a_policy_is_held_against_a_schedule_that_trains_as_often(
    share: float, trainings: int, over: float
) -> None:
    """Between two schedules the share grows evenly with the trainings; of two schedules that train
    as often the mean counts; beyond the last it stays."""
    schedule = [(8, 1.0), (0, 0.0), (4, 0.5), (4, 0.7), (2, 0.4)]
    assert measure_over_schedule(share, trainings, schedule) == pytest.approx(over)


def test_schedules_are_neither_over_nor_under_themselves() -> None:
    """Each schedule has 0 over itself, what has no share has nothing over it, and the totals have
    the mean and the worst of the streams."""
    shares = dict(zip(SCHEDULES, (0.0, 0.3, 0.5, 0.6, 0.8, 1.0), strict=True))
    counts = dict(zip(SCHEDULES, (0, 1, 2, 3, 5, 10), strict=True))
    stream = {
        name: {**figures(0.5, 0.5, counts[name]), "share": share} for name, share in shares.items()
    }
    stream["loop"] = {**figures(0.6, 0.5, 4), "share": 0.9}
    found = add_over_schedule(stream)
    assert found["loop"]["over_schedule"] == pytest.approx(0.2)
    assert [found[name]["over_schedule"] for name in SCHEDULES] == [0.0] * len(SCHEDULES)
    flat = add_over_schedule({name: {**known, "share": None} for name, known in stream.items()})
    worse = {**found, "loop": {**found["loop"], "over_schedule": -0.1}}
    totals = total([found, flat, worse])["loop"]
    assert flat["loop"]["over_schedule"] is None
    assert totals["over_schedule"] == pytest.approx(0.05)
    assert totals["over_schedule_worst"] == pytest.approx(-0.1)


def test_streams_that_are_not_there_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without any stream nothing is written, and the way to name them is said."""
    assert main(["--streams", str(tmp_path), "--out", str(tmp_path / "loop.json")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "elec2" in shown
    assert "CLOSEDLOOP_STREAMS" in shown
    assert not (tmp_path / "loop.json").exists()
