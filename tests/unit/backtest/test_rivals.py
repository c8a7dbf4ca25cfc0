"""The policies of others retrain when their rules say so, and never before."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from closedloop.backtest.cost_aware import choose_threshold, forecast_cost
from closedloop.backtest.figures import Round
from closedloop.backtest.policies import parse_policy
from closedloop.backtest.replay import fit_first, replay
from closedloop.backtest.rivals import RIVALS, bootstrap_delta
from closedloop.backtest.run import run_backtest
from closedloop.cli.backtest import POLICY_WORDS
from closedloop.errors import UseCaseError
from tests.unit.streams import make_frame, make_frames, make_past, make_use_case

pytestmark = pytest.mark.slow

CALM = {f"w{number}": make_frame(number) for number in range(9)}
# The relation turns at w4, whose labels come with w5.
TURNED = make_frames(9)


def replayed(folder: Path, name: str, frames: dict[str, object]) -> dict[str, Round]:
    past = make_past(folder, frames, first=3)  # type: ignore[arg-type]
    rounds = replay(past, parse_policy(name, past.use_case), fit_first(past))
    return {lived.window: lived for lived in rounds}


def trained(rounds: dict[str, Round]) -> list[str]:
    return [window for window, lived in rounds.items() if lived.candidate is not None]


@pytest.mark.parametrize("name", ["adwin", "ddm"])
def test_a_detector_retrains_when_the_labels_show_more_errors(tmp_path: Path, name: str) -> None:
    """With the labels of the window in which the relation turned, on all labels that are due, and
    not again while errors stay as high."""
    rounds = replayed(tmp_path, name, TURNED)
    assert trained(rounds) == ["w5"]
    assert rounds["w5"].trained_on == ("w0", "w1", "w2", "w3", "w4")
    assert rounds["w5"].promoted
    assert f"{name} says that they rose" in rounds["w5"].reason


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["adwin", "ddm", "bootstrap-gate"])
def test_nothing_is_promoted_while_nothing_changes(tmp_path: Path, name: str) -> None:
    """On windows of one kind no detector signals and no gate opens."""
    rounds = replayed(tmp_path, name, CALM)
    assert not [window for window, lived in rounds.items() if lived.promoted]


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["adwin", "ddm"])
def test_fewer_errors_start_nothing(tmp_path: Path, name: str) -> None:
    """Windows that become easier are a change, and no reason to train."""
    easier = {name: make_frame(number, 3.0) for number, name in enumerate(("w5", "w6", "w7", "w8"))}
    harder = {f"w{number}": make_frame(number, 0.3) for number in range(5)}
    assert trained(replayed(tmp_path, name, harder | easier)) == []


def test_a_second_window_with_drift_retrains(tmp_path: Path) -> None:
    """One of five is not enough; from the second on every window over the limit trains, as nothing
    clears the count."""
    rounds = replayed(tmp_path, "two-of-five", TURNED)
    assert "drift in 1 of the last 5 windows" in rounds["w5"].reason
    assert trained(rounds) == ["w6", "w7"]
    assert rounds["w6"].promoted


def test_the_bootstrap_gate_trains_every_second_round_and_promotes_the_better(
    tmp_path: Path,
) -> None:
    """While the twin is no better it is turned down; a better one is fitted again with the rows
    that judged it."""
    rounds = replayed(tmp_path, "bootstrap-gate", make_frames(12))
    assert trained(rounds) == ["w5", "w7", "w9"]
    assert [lived.promoted for lived in rounds.values()] == [*[False] * 5, True, False]
    assert rounds["w9"].trained_on[-1] == "w8"
    assert (rounds["w9"].delta or 0) > 0.005


def test_the_bootstrap_gate_wants_both_a_gain_and_its_certainty() -> None:
    """The same answers twice differ by nothing in every draw; better ones differ in nearly all; a
    class without a row is unknown."""
    draw = np.random.default_rng(1)
    labels = draw.integers(2, size=300)
    noise = draw.normal(size=300)
    good, bad = (1 / (1 + np.exp(-(slope * labels + noise))) for slope in (3.0, 0.5))
    answers = [np.column_stack([1 - score, score]) for score in (good, bad)]
    assert bootstrap_delta(labels, answers[0], answers[0], draw) == (0, 0)
    delta, low = bootstrap_delta(labels, answers[0], answers[1], draw)
    assert delta is not None
    assert low is not None
    assert 0 < low < delta
    assert bootstrap_delta(np.zeros(300, dtype=int), *answers, draw) == (None, None)


@pytest.mark.nightly
def test_cara_retrains_when_cumulated_staleness_passes_the_threshold(tmp_path: Path) -> None:
    """Calm windows add up to the threshold in some rounds; where the relation turned, one window is
    enough."""
    calm, turned = (replayed(tmp_path, "cara", frames) for frames in (CALM, TURNED))
    assert 0 < len(trained(calm)) < len(calm)
    assert "w5" in trained(turned)
    assert len(trained(turned)) > len(trained(calm))


@pytest.mark.parametrize(
    ("renewed", "retraining", "threshold"),
    [(0.1, 0.05, 0.3), (0.1, 0.5, 0.9), (0.3, 0.0, 0.9)],
)
def test_the_threshold_is_what_would_have_cost_least(
    renewed: float, retraining: float, threshold: float
) -> None:
    """A model that stays costs 0.3 a window: a new one that costs less is worth its price or not,
    and of equals the highest threshold is taken."""
    staleness = {(0, 1): 0.3, (0, 2): 0.3, (0, 3): 0.3, (1, 2): renewed, (1, 3): renewed}
    staleness[2, 3] = renewed
    assert choose_threshold(staleness, 4, retraining) == pytest.approx(threshold)
    assert choose_threshold({}, 1, retraining) == float("inf")


@pytest.mark.parametrize(("growth", "extra"), [(0.0, 0.0), (0.02, 0.3)])
def test_errors_that_grow_with_age_make_keeping_dear(growth: float, extra: float) -> None:
    """Where errors grow by 0.02 a window, a model three windows older costs 0.06 more in each of
    five windows; where they do not, it costs the same."""
    pairs = [
        (float(model), float(age), 0.0, 0.2 + growth * age)
        for model in range(6)
        for age in range(1, 7 - model)
    ]
    old, new = (
        forecast_cost(pairs, [(model, 7 + ahead - model, 0.0) for ahead in range(1, 6)])
        for model in (3.0, 6.0)
    )
    assert old - new == pytest.approx(extra, abs=0.02)


def test_upf_retrains_where_the_forecast_says_that_it_pays(tmp_path: Path) -> None:
    """A relation that turns a little every window makes models worse with age; both costs are in
    the reason."""
    turning = {f"w{number}": make_frame(number, 1.5 - 0.25 * number) for number in range(9)}
    rounds = replayed(tmp_path, "upf", turning)
    assert rounds["w4"].promoted
    for lived in rounds.values():
        kept, renewed = map(float, re.findall(r"\d\.\d+", lived.reason))
        assert lived.promoted == (renewed < kept)


@pytest.mark.nightly
def test_rivals_are_repeatable_and_remember_nothing_of_another_replay(tmp_path: Path) -> None:
    """The same object replays the same past twice, and a second run fits nothing."""
    runs = []
    for _ in range(2):
        past = make_past(tmp_path, TURNED, first=3, cache=tmp_path / "cache")
        runs.append((run_backtest(past, tuple(RIVALS)).as_json(), past.compute.fits))
    assert runs[0][1] > 0
    assert runs[1] == (runs[0][0], 0)


def test_a_rival_without_its_package_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """River is installed by those who want its detectors; nothing is replayed before that is
    known."""
    monkeypatch.setitem(sys.modules, "river.drift", None)
    with pytest.raises(UseCaseError, match=r"closedloop\[rivals\]"):
        parse_policy("adwin", make_use_case(tmp_path))


def test_the_command_names_every_rival() -> None:
    """What --policy takes is in its help."""
    assert [name for name in RIVALS if name not in POLICY_WORDS] == []
