"""A replay lives history as it was: nothing looks ahead, everything is computed once, and a run
that ended goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from closedloop.backtest.figures import Round
from closedloop.backtest.policies import Brain
from closedloop.backtest.replay import AsOf, Stream, fit_first, replay
from closedloop.backtest.rivals import RIVALS
from closedloop.backtest.run import run_backtest
from closedloop.errors import SourceError
from tests.unit.streams import Frames, make_frame, make_frames, make_past

pytestmark = pytest.mark.slow

EVERYBODY = ("static", "always", "every-2", "naive", "loop", *RIVALS)


def decided(rounds: Mapping[str, tuple[Round, ...]], until: int) -> list[object]:
    """All that was decided, and all that was known when it was, in the first rounds."""
    return [
        (
            name,
            lived.window,
            lived.actions,
            lived.reason,
            lived.delta,
            lived.production,
            lived.trained_on,
        )
        for name, found in rounds.items()
        for lived in found[:until]
    ]


@pytest.mark.parametrize(
    "delay", [*(pytest.param(delay, marks=pytest.mark.nightly) for delay in (0, 1)), 2]
)
def test_rows_of_later_windows_change_no_earlier_decision(tmp_path: Path, delay: int) -> None:
    """All later windows and all labels that are not due are replaced by others, early, in the
    middle and late: every decision up to there, every number in its reason, and every training
    stays."""
    frames = make_frames(8)
    clean = run_backtest(make_past(tmp_path, frames, delay=delay), EVERYBODY).rounds
    names = list(frames)
    for until in (1, 3, len(clean["loop"]) - 1):
        newest = names.index(clean["loop"][until - 1].window)
        late = {
            name: make_frame(900 + number, -2.0, 3.0)
            for number, name in enumerate(names)
            if number > newest
        }
        for name in names[newest + 1 - delay : newest + 1]:
            late[name] = frames[name].assign(left="yes")
        other = run_backtest(make_past(tmp_path, {**frames, **late}, delay=delay), EVERYBODY).rounds
        assert decided(other, until) == decided(clean, until)
        assert other["static"][-1].next_auc != clean["static"][-1].next_auc


def test_what_does_not_exist_yet_cannot_be_read() -> None:
    """As of w2, with labels one window late: w3 is unknown, and the labels of w2 are null."""
    then = AsOf(Stream(Frames(make_frames(5))), "w2", 1, "left")
    assert then.windows() == ("w0", "w1", "w2")
    assert then.read("w2")["left"].isna().all()
    assert then.read("w1")["left"].notna().all()
    with pytest.raises(SourceError, match="a window up to w2"):
        then.read("w3")


def test_the_first_model_knows_the_first_windows_only(tmp_path: Path) -> None:
    """Fitted on them all, described by a twin that had not seen the last of them."""
    past = make_past(tmp_path, delay=1, first=3)
    first = fit_first(past)
    assert first.facts.trained_windows == ("w0", "w1", "w2")
    assert first.facts.evaluation_window == "w2"
    assert first.facts.val_auc is not None
    assert past.rounds()[0] == ("w4", "w5")
    assert past.rounds()[-1] == ("w7", "w8")


def test_too_short_a_history_is_refused(tmp_path: Path) -> None:
    """Three windows cannot be replayed with two for the first model and labels one late: the
    sentence says how many are wanted."""
    with pytest.raises(SourceError, match="at least 5 windows"):
        run_backtest(make_past(tmp_path, make_frames(3)))


def test_a_second_run_fits_nothing_and_says_the_same(tmp_path: Path) -> None:
    """With what the first run kept, every figure and every round comes out again, and nothing is
    fitted."""
    runs = []
    for _ in range(2):
        past = make_past(tmp_path, cache=tmp_path / "cache")
        runs.append((run_backtest(past).as_json(), past.compute.fits))
    assert runs[0][1] > 0
    assert runs[1] == (runs[0][0], 0)


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """Cut off in the fourth round, the next run fits only what the first one had not."""
    done: list[int] = []

    def interrupt() -> None:
        done.append(1)
        if len(done) == 4:
            raise KeyboardInterrupt

    whole = make_past(tmp_path)
    expected = replay(whole, Brain(), fit_first(whole))
    cut, resumed = (make_past(tmp_path, cache=tmp_path / "cache") for _ in range(2))
    with pytest.raises(KeyboardInterrupt):
        replay(cut, Brain(), fit_first(cut), interrupt)
    assert replay(resumed, Brain(), fit_first(resumed)) == expected
    # The model that was live when it was cut off has answers to give that nobody had asked for yet.
    assert resumed.compute.fits <= whole.compute.fits - cut.compute.fits + 2
    assert cut.compute.fits > 2


def test_more_policies_cost_no_more_reading(tmp_path: Path) -> None:
    """Every window is read from the source once, however many policies look at it."""
    past = make_past(tmp_path)
    source = Frames(make_frames())
    object.__setattr__(past, "stream", Stream(source))
    run_backtest(past)
    assert sorted(source.asked) == sorted(source.frames)


def test_a_turn_that_cannot_be_taken_does_not_end_the_replay(tmp_path: Path) -> None:
    """A newest window of one class leaves nothing to be learned from it alone: the round says so,
    and the next one goes on."""
    frames = make_frames(8) | {"w4": make_frame(4, shift=9.0).assign(left="no")}
    found = run_backtest(make_past(tmp_path, frames), ("naive",)).rounds["naive"]
    assert [lived.window for lived in found if lived.failed] == ["w5"]
    assert all(lived.next_auc is not None for lived in found if lived.next_window != "w4")
