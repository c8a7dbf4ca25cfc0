"""Streams whose truth is known are what they say, and the figures about them are right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from closedloop.decisions.policy import Policy
from tests.bench.made_streams import KINDS, WINDOWS, Kind, make_stream
from tests.bench.made_totals import NEVER, Lived, total
from tests.bench.replay_made import main
from tests.bench.variants import make_variants


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_follows_from_its_numbers(kind: Kind) -> None:
    """The same numbers give the same rows, another seed gives others; every window has its rows and
    about its share of positives."""
    made, again, other = (make_stream(kind, seed, 400, 0.3) for seed in (1, 1, 3))
    assert made.frame.equals(again.frame)
    assert not made.frame.equals(other.frame)
    rows = made.truth.groupby("window")["target"].agg(["size", "mean"])
    assert (rows["size"] == 400).all()
    assert len(rows) == WINDOWS
    assert abs(rows["mean"].iloc[0] - 0.3) < 0.1


def test_only_the_suspect_window_has_wrong_labels() -> None:
    """A burst flips about two of five labels in one window and touches nothing else."""
    made = make_stream("wrong_labels", 1, 1000, 0.3)
    wrong = made.frame["target"] != made.truth["target"]
    assert set(made.frame.loc[wrong, "window"]) == {made.suspect}
    assert abs(wrong.sum() / 1000 - 0.4) < 0.06
    assert made.frame.drop(columns="target").equals(made.truth.drop(columns="target"))


def test_a_change_is_a_change_and_a_season_comes_back() -> None:
    """What the first feature says of the target changes where the stream says, and in a season it
    is the same again after a cycle."""

    def slopes(kind: Kind) -> np.ndarray:
        frame = make_stream(kind, 1, 3000, 0.3).truth
        return np.array(
            [
                [np.corrcoef(rows[f"x{place}"], rows["target"])[0, 1] for place in range(6)]
                for _, rows in frame.groupby("window")
            ]
        )

    changed = make_stream("abrupt", 1, 300, 0.3).changed_at
    assert changed is not None
    abrupt, season = slopes("abrupt"), slopes("recurring")
    assert np.abs(abrupt[changed - 1] - abrupt[0]).max() < 0.1
    assert np.abs(abrupt[changed] - abrupt[0]).max() > 0.2
    assert np.abs(season[12] - season[0]).max() < 0.1
    assert np.abs(season[6] - season[0]).max() > 0.2


def test_shares_are_of_what_always_retraining_gains() -> None:
    """Half of the gain is a share of 0.5, twice what a schedule with as many trainings keeps on the
    line from none to all; where there is next to nothing to gain there is no share."""
    lived = [
        Lived("abrupt", "static", 0.70, 20, 0, 0, 0, caught_up=NEVER),
        Lived("abrupt", "always", 0.80, 20, 20, 20, 0, caught_up=4),
        Lived("abrupt", "loop", 0.75, 20, 5, 5, 1, caught_up=2),
    ]
    found = total(lived)
    assert found["loop"]["share"] == pytest.approx(0.5)
    assert found["loop"]["over_schedule"] == pytest.approx(0.25)
    assert found["loop"]["regret"] == pytest.approx(0.05)
    assert found["loop"]["windows_to_catch_up"] == 2
    assert found["loop"]["harmful"] is None
    still = [replace(entry, auc=0.70, kind="none", harmful=1) for entry in lived]
    assert total(still)["loop"]["share"] is None
    assert total(still)["loop"]["harmful"] == 1


def test_variants_differ_from_the_policy_in_what_they_say() -> None:
    """Each variant has a name of its own and other numbers than the policy, and one without a
    trigger has just that trigger off."""
    variants = {brain.name: brain.policy for brain in make_variants(Policy())}
    assert (
        len({repr(policy) for policy in variants.values()} | {repr(Policy())}) == len(variants) + 1
    )
    without = variants["without age"]
    assert without is not None
    assert without == replace(Policy(), retraining=replace(Policy().retraining, age_trigger=False))


@pytest.mark.nightly
def test_a_made_stream_is_lived_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One stream without a change: every schedule and the loop have a line, promotions are judged
    on later rows, and the file holds what was shown."""
    out = tmp_path / "made.json"
    kind = ["--only", "none", "--seeds", "1", "--rows", "120", "--learner", "logistic"]
    assert main([*kind, "--at-once", "1", "--out", str(out)]) == 0
    (cell,) = json.loads(out.read_text())
    assert next(iter(cell["policies"])) == "static"
    assert cell["policies"]["always"]["decisions"] == cell["policies"]["always"]["promotions"] > 0
    assert cell["policies"]["always"]["harmful"] is not None
    assert "every-2" in capsys.readouterr().out
