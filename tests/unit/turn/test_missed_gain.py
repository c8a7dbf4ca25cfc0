"""What newer labels would have gained, as turns measure it and remember it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from closedloop.backtest.figures import Round
from closedloop.backtest.memory_registry import MemoryRegistry
from closedloop.backtest.policies import Brain
from closedloop.backtest.replay import Past, ReplayParts, fit_first, replay
from closedloop.bundle.loaded import LoadedVersion
from closedloop.decisions.gain_evidence import Gain
from closedloop.decisions.policy import Policy
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.training.samples import sample_windows
from closedloop.turn.history import History
from closedloop.turn.missed_gain import measure_gain
from closedloop.use_case.recipe import Recipe
from tests.unit.streams import make_frame, make_past

pytestmark = pytest.mark.slow

# Windows whose relation turns round at w4; a training for age or drift would hide what is shown.
TURNS = {f"w{number}": make_frame(number, 1.0 if number < 4 else -1.0) for number in range(10)}
SAME = {f"w{number}": make_frame(number) for number in range(10)}


def _with(past: Past, **changes: object) -> Policy:
    policy = past.use_case.policy
    rules = replace(policy.retraining, drift_trigger=False, age_trigger=False, **changes)  # type: ignore[arg-type]
    quarantine = replace(policy.quarantine, max_auc_drop=1.0)
    return replace(policy, retraining=rules, quarantine=quarantine)


def _live(past: Past, **changes: object) -> tuple[Round, ...]:
    policy = _with(past, auc_loss_trigger=False, **changes)
    return replay(past, Brain("loop", policy), fit_first(past))


def _measure(
    past: Past, window: str, *, lost: bool = False, first: LoadedVersion | None = None
) -> Gain | None:
    """The gain on the newest due window, with the first model in production."""
    engine, registry = open_engine("sqlite://"), MemoryRegistry("shop")
    registry.promote(
        registry.add(first or fit_first(past), "w2"), instead_of=None, reason="installed"
    )
    try:
        parts = ReplayParts(
            past.use_case, past.as_of(window), Journal(engine), registry, past.compute
        )
        history = History(parts, window)
        assert history.bundle is not None
        return measure_gain(history, history.read(history.due[-1]).labelled, lost=lost)
    finally:
        engine.dispose()


def test_a_changed_relation_pays_for_a_training_soon_and_nothing_changed_for_none(
    tmp_path: Path,
) -> None:
    """With every other trigger off, the loop trains at the first turn at which a changed window
    has been learnt from and another one judges; where nothing changes it trains at most once."""
    trained = [lived.window for lived in _live(make_past(tmp_path, TURNS)) if lived.candidate]
    assert trained[0] == "w6", "w4 is due at w5; at w6 it has taught the small model, and w5 judges"
    assert sum(lived.candidate is not None for lived in _live(make_past(tmp_path, SAME))) <= 1


@pytest.mark.nightly
def test_a_higher_cost_trains_less(tmp_path: Path) -> None:
    """A training that costs more than could ever be missed is never made."""
    rounds = _live(make_past(tmp_path, TURNS), cost=100.0)
    assert not any(lived.candidate for lived in rounds)
    cheap = sum(
        lived.candidate is not None for lived in _live(make_past(tmp_path, TURNS), cost=0.0)
    )
    usual = sum(lived.candidate is not None for lived in _live(make_past(tmp_path, TURNS)))
    assert cheap >= usual > 0


def test_nothing_is_asked_where_production_knows_all_labels(tmp_path: Path) -> None:
    """Right after a training no newer labels were due before the judged window: no rows, no model
    is fitted, and drift may ask."""
    past = make_past(tmp_path, SAME)
    assert _measure(past, "w3") == Gain("w2", 0.0, 0.0, 0)


def test_the_gain_has_the_sign_of_the_truth(tmp_path: Path) -> None:
    """On a window of the new relation the newer labels gain, with an error far smaller than it."""
    found = _measure(make_past(tmp_path, TURNS), "w7", lost=True)
    usual = _measure(make_past(tmp_path, TURNS), "w7")
    assert found is not None
    assert usual is not None
    assert usual.value < found.value, "all history needs more windows to turn round"
    assert found.on == "w6"
    assert found.rows == 300
    assert found.value > 3 * found.error > 0


def test_the_model_that_stands_for_production_learns_as_production_did(tmp_path: Path) -> None:
    """Production learnt from hardly any but one window, which was an exception: newer labels would
    gain much against it, and nothing against a model of all that it knows."""
    odd = {name: make_frame(int(name[1:]), -1.0 if name == "w2" else 1.0) for name in SAME}
    past = make_past(tmp_path, odd)
    first, knows = fit_first(past), ("w0", "w1", "w2")
    against_all, against_newest = (
        _measure(
            past,
            "w7",
            first=replace(first, facts=replace(first.facts, recipe=recipe, trained_windows=knows)),
        )
        for recipe in ("logistic/all", "logistic/newest")
    )
    assert against_all is not None
    assert against_newest is not None
    assert against_newest.value > 0.2
    assert against_all.value < 0.1


def test_windows_that_are_gone_make_it_unknown(tmp_path: Path) -> None:
    """Where production learnt from a window that no longer exists, no small model can stand for
    it."""
    first = fit_first(make_past(tmp_path, TURNS))
    kept = {name: frame for name, frame in TURNS.items() if name != "w0"}
    assert _measure(make_past(tmp_path, kept), "w7", first=first) is None


def test_code_that_only_a_versions_files_name_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version in the registry says that a function on the path makes its estimator. The same
    function is called once the loop.toml here names it, too."""
    (tmp_path / "found_on_the_path.py").write_text(
        "from pathlib import Path\n"
        "from sklearn.linear_model import LogisticRegression\n"
        f"def build(task):\n    Path({str(tmp_path / 'was_run')!r}).touch()\n    raise OSError\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    past, first = make_past(tmp_path, TURNS), fit_first(make_past(tmp_path, TURNS))
    recipes = {"mine": Recipe(estimator="found_on_the_path:build")}
    theirs = replace(
        first,
        facts=replace(first.facts, recipe="mine/all"),
        use_case=replace(first.use_case, recipes=recipes),
    )
    assert _measure(past, "w7", first=theirs) is None
    assert not (tmp_path / "was_run").exists()
    named = replace(past, use_case=replace(past.use_case, recipes=recipes))
    assert _measure(named, "w7", first=theirs) is None
    assert (tmp_path / "was_run").exists()


@pytest.mark.parametrize("rows", [10, 150, 10_000])
def test_a_sample_is_the_same_share_of_each_window_and_holds_smaller_ones(
    tmp_path: Path, rows: int
) -> None:
    """About as many rows as asked for, in the order of the window, a part of any larger sample."""
    past = make_past(tmp_path, SAME)
    windows = tuple(past.labelled(name) for name in ("w0", "w1", "w2"))
    sample, larger = (sample_windows(windows, wanted, 7) for wanted in (rows, rows * 2))
    for whole, part, more in zip(windows, sample, larger, strict=True):
        assert len(part.labels) == max(1, round(min(1.0, rows / 900) * 300))
        assert part.frame.index.is_monotonic_increasing
        assert set(part.frame.index) <= set(more.frame.index) <= set(whole.frame.index)
        places = whole.frame.index.get_indexer(part.frame.index)
        assert np.array_equal(part.labels, whole.labels[places])
