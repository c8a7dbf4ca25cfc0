"""Rows that production or the candidate was trained on judge neither of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.backtest.cache import CachedCompute
from closedloop.backtest.memory_registry import MemoryRegistry
from closedloop.backtest.replay import Past, ReplayParts, Stream, fit_first
from closedloop.decisions.checks import Action, Decision, Kind, request_check
from closedloop.decisions.promotion import decide_promotion
from closedloop.decisions.retraining import decide_retraining
from closedloop.storage.details import PromotionDetails
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.turn.candidate import fit_candidate, make_evidence
from closedloop.turn.carry_out import carry_out
from closedloop.turn.history import History
from closedloop.turn.observe import Observation, observe_window
from closedloop.turn.realised import watch_promotion
from closedloop.windows.new_rows_source import NewRowsSource
from tests.unit.streams import Frames, make_frame, make_use_case

pytestmark = pytest.mark.slow

ROWS = 400


@pytest.fixture
def journal() -> Iterator[Journal]:
    engine = open_engine("sqlite://")
    yield Journal(engine)
    engine.dispose()


def noise(number: int) -> pd.DataFrame:
    """Orders whose label has nothing to do with anything; one model remembers all of them."""
    draw = np.random.default_rng(number)
    frame = make_frame(number, rows=ROWS).assign(left=draw.choice(["no", "yes"], ROWS))
    return frame.assign(order=[f"o{number}-{place}" for place in range(ROWS)])


MONTHS = [noise(number) for number in range(4)]
SO_FAR = {f"w{last}": pd.concat(MONTHS[: last + 1], ignore_index=True) for last in range(4)}
OVERLAP = {
    f"w{place}": pd.concat([MONTHS[max(place - 1, 0)][ROWS * 2 // 3 :], month], ignore_index=True)
    if place
    else month
    for place, month in enumerate(MONTHS)
}


def look_at(
    folder: Path,
    journal: Journal,
    frames: Mapping[str, pd.DataFrame],
    window: str,
    *,
    key: str | None = "order",
    new_rows: bool = False,
    first: int = 1,
) -> History[Any]:
    """A window while version 1, trained on the first windows, is production."""
    use_case = make_use_case(
        folder, training={"recipes": ["lightgbm"]}, **({"key": key} if key else {})
    )
    source: Any = Frames(frames)
    stream = Stream(NewRowsSource(source, use_case) if new_rows else source)
    past = Past(stream, use_case, CachedCompute(), first)
    registry = MemoryRegistry("shop")
    registry.promote(registry.add(fit_first(past), "w0"), instead_of=None, reason="installed")
    return History(
        ReplayParts(use_case, past.as_of(window), journal, registry, past.compute), window
    )


def realised(seen: Observation) -> float:
    assert seen.evidence.realised_auc is not None
    return seen.evidence.realised_auc.value


@pytest.mark.parametrize("key", ["order", None])
def test_noise_is_not_promoted_because_windows_share_rows(
    tmp_path: Path, journal: Journal, key: str | None
) -> None:
    """Half of w1 is w0 again, which production and twin know by heart: on the other half neither
    is better than chance, only new labels count, and the check says how many rows are left out."""
    history = look_at(tmp_path, journal, SO_FAR, "w1", key=key)
    seen = observe_window(history)
    assert seen.evidence.repeated is not None
    unit = "keys" if key else "rows"
    assert str(seen.evidence.repeated) == f"400 of 800 {unit} are in w0 already"
    assert realised(seen) == pytest.approx(0.5, abs=0.07)
    assert seen.evidence.realised_auc is not None
    assert seen.evidence.realised_auc.rows == ROWS
    assert sum(count for _, count in seen.evidence.new_labels) == ROWS
    candidate = fit_candidate(history)
    evidence = make_evidence(history, candidate, candidate.scorer, 0.0)
    assert candidate.chosen.candidate.rows == ROWS
    assert candidate.chosen.candidate.val_auc == pytest.approx(0.5, abs=0.07)
    assert str(evidence.repeated) == f"400 of 800 {unit} are in w0 already"


def test_a_file_that_holds_all_rows_so_far_escalates_and_new_rows_mends_it(
    tmp_path: Path, journal: Journal
) -> None:
    """Two thirds of w2 are old: a person is asked, by a turn and by a training that a person
    started, and told the line to write. With it w2 is a month of its own, and noise is noise."""
    advice = (
        "800 of 1,200 keys are in w0 and w1 already, so each file seems to hold all rows so far: "
        "set new_rows = true under [source] to take only new ones"
    )
    history = look_at(tmp_path, journal, SO_FAR, "w2")
    policy = history.loop.use_case.policy
    turn = decide_retraining(observe_window(history).evidence, policy)
    assert (turn.action, turn.reason) == (Action.ESCALATE, advice)
    candidate = fit_candidate(history)
    asked = decide_promotion(make_evidence(history, candidate, candidate.scorer, 0.0), policy)
    assert asked.action is Action.ESCALATE
    assert advice in asked.reason

    mended = look_at(tmp_path, journal, SO_FAR, "w2", new_rows=True)
    seen = observe_window(mended)
    assert seen.evidence.window.rows == ROWS
    assert seen.evidence.repeated is None
    assert realised(seen) == pytest.approx(0.5, abs=0.07)
    assert decide_retraining(seen.evidence, policy).action is not Action.ESCALATE
    candidate = fit_candidate(mended)
    assert candidate.chosen.candidate.val_auc == pytest.approx(0.5, abs=0.07)


def test_a_copied_window_judges_nothing(tmp_path: Path, journal: Journal) -> None:
    """w1 is w0 under another name: no realised AUC, no new labels, and a person is asked."""
    history = look_at(tmp_path, journal, {"w0": MONTHS[0], "w1": MONTHS[0]}, "w1")
    seen = observe_window(history)
    assert seen.evidence.realised_auc is None
    assert sum(count for _, count in seen.evidence.new_labels) == 0
    policy = history.loop.use_case.policy
    assert decide_retraining(seen.evidence, policy).reason == (
        "400 of 400 keys are in w0 already, so w1 seems to be a copy: take it out of the source"
    )
    candidate = fit_candidate(history)
    decision = decide_promotion(make_evidence(history, candidate, candidate.scorer, 0.0), policy)
    assert decision.action is Action.ESCALATE


def test_labels_of_windows_that_overlap_count_once(tmp_path: Path, journal: Journal) -> None:
    """w1 to w3 each repeat a third of the month before: three months of new labels, not
    four."""
    history = look_at(tmp_path, journal, OVERLAP, "w3")
    evidence = observe_window(history).evidence
    assert sum(count for _, count in evidence.new_labels) == 3 * ROWS
    assert str(evidence.repeated) == "134 of 534 keys are in w2 already"


def test_a_predecessor_is_compared_on_rows_that_are_new_to_both(
    tmp_path: Path, journal: Journal
) -> None:
    """Version 2 knows a third of w2 by heart, version 1 does not: on the rest neither wins."""
    history = look_at(tmp_path, journal, OVERLAP, "w2")
    loop = history.loop
    stream = Stream(Frames(OVERLAP))
    second = fit_first(Past(stream, loop.use_case, loop.compute, 2))
    better = Decision(
        Kind.PROMOTION,
        Action.PROMOTE,
        "w1",
        (request_check("promote"),),
        loop.registry.add(second, "w1"),
    )
    carry_out(loop, journal.write("better", "shop", better, details=PromotionDetails(1)))
    watched = watch_promotion(history, history.state(), None)
    assert watched is not None
    regret = watched.delta
    assert regret is not None
    assert regret.rows == ROWS
    assert regret.lower < 0 < regret.upper


def test_customers_who_are_scored_every_month_are_not_left_out(
    tmp_path: Path, journal: Journal
) -> None:
    """The same keys with values and labels of their own: every row judges, as it did before."""
    names = [f"customer {number}" for number in range(ROWS)]
    frames = {f"w{place}": make_frame(place, rows=ROWS).assign(order=names) for place in range(3)}
    seen = observe_window(look_at(tmp_path, journal, frames, "w2"))
    assert seen.evidence.repeated is None
    assert seen.evidence.realised_auc is not None
    assert seen.evidence.realised_auc.rows == ROWS
    assert sum(count for _, count in seen.evidence.new_labels) == 2 * ROWS
