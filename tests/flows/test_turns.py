"""Whole turns of the loop on generated months, proved by what moved and what was written down."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from closedloop.decisions.checks import Action, Kind
from closedloop.settings import Settings
from closedloop.turn.history import History
from closedloop.turn.move_by_hand import promote_by_hand
from closedloop.turn.observe import observe_window
from closedloop.turn.open import open_loop
from tests.flows.conftest import Campaign, Place, decisions_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]

REPOSITORY = Path(__file__).resolve().parents[2]
REAL = REPOSITORY.parent / "shared/data/streamflow"


def test_a_second_look_at_the_same_window_decides_nothing_new(
    campaign: Campaign, campaign_copy: Place, turn: Callable[..., Any]
) -> None:
    """The same data and the same loop.toml: the same decisions, no new version, no second
    training."""
    place, second = campaign_copy, campaign.second
    assert turn(place, "month_000") == campaign.first
    assert turn(place, "month_002") == second
    assert turn(place, "month_002", "train")[: len(second)] == second
    assert len(place.open().registry.versions()) == 2


def test_broken_data_is_escalated_and_never_trained_on(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """The month in cents and without payments names column, wanted and got; a later training leaves
    its rows out."""
    place = make_place(0, 5, 6)
    turn(place, "month_000")
    assert turn(place, "month_001") == [("retraining", "escalate")]
    loop = place.open()
    entry = loop.journal.history("streamflow")[-1]
    fee = next(check for check in entry.decision.checks if check.claim.startswith("monthly_fee"))
    assert fee.wanted == "0 to 500"
    assert "outside" in fee.got
    assert any(check.claim.startswith("failed_payments_90d") for check in entry.decision.checks)
    turn(place, "month_002", "train")
    newest = place.open().registry.versions()[-1]
    assert loop.registry.load(newest.version).facts.trained_windows == ("month_000", "month_002")


def test_the_campaign_month_is_promoted_and_taken_back_when_it_is_over(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """Promoted on what was known, rolled back on what came: production and previous move, the
    journal says why, nothing retrains."""
    place = make_place(0, 2, 0, rows=3000)
    turn(place, "month_000")
    assert turn(place, "month_001") == [("retraining", "retrain"), ("promotion", "promote")]
    assert place.open().registry.previous() == 1
    assert turn(place, "month_002") == [("rollback", "rollback")]
    loop = place.open()
    assert (loop.registry.production(), loop.registry.previous()) == (1, None)
    assert loop.registry.version(2).status == "archived"
    assert turn(place, "month_002") == [("rollback", "rollback")], (
        "a second look must not decide again"
    )


@pytest.mark.nightly
def test_no_retrain_storm_when_every_window_drifts(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """Retrain storms: drift in every month trains no more often than the cooldown allows."""
    place = make_place(0, 4, 4, 4, changes={"cooldown_windows = 0": "cooldown_windows = 1"})
    trainings = 0
    for number in range(4):
        trainings += ("retraining", "retrain") in turn(place, f"month_{number:03d}")
    loop = place.open()
    indexes = [
        int(entry.decision.window[-3:])
        for entry in loop.journal.history("streamflow")
        if entry.decision.action is Action.RETRAIN
    ]
    assert trainings == len(indexes)
    assert all(later - earlier > 1 for earlier, later in pairwise(indexes))


@pytest.mark.nightly
def test_two_monitors_started_at_once_train_once(
    make_place: Callable[..., Any], processes: Any, run: Callable[..., Any]
) -> None:
    """Two processes look at the same window at the same moment: one version, one promotion."""
    place = make_place(0)
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(run("monitor", place, "month_000")[0]))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0, 0]
    assert decisions_of(place, "month_000") == [("retraining", "retrain"), ("promotion", "promote")]
    assert [known.version for known in place.open().registry.versions()] == [1]


def test_a_monitor_killed_before_its_retraining_is_finished_by_the_next(
    make_place: Callable[..., Any], run: Callable[..., Any]
) -> None:
    """The decision to retrain was written down, the process died: the next monitor carries it out,
    and decides nothing again."""
    place = make_place(0)
    assert run("monitor", place, "month_000", kill_at="save_model")[0] == -9
    assert decisions_of(place, "month_000") == [("retraining", "retrain")]
    assert run("monitor", place, "month_000")[0] == 0
    assert decisions_of(place, "month_000") == [("retraining", "retrain"), ("promotion", "promote")]


@pytest.mark.nightly
def test_a_champion_that_needs_a_lost_column_does_not_block_every_release(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """A column leaves loop.toml: production cannot be asked any more, a retraining follows and a
    person is asked, who can promote."""
    place = make_place(0, 0)
    turn(place, "month_000")
    text = place.path.read_text()
    a, b = text.index("[columns.skips_7d]"), text.index("[columns.rebuffer_events_7d]")
    place.path.write_text((text[:a] + text[b:]).replace('golden = "golden.json"', ""))
    assert turn(place, "month_001") == [("retraining", "retrain"), ("promotion", "escalate")]
    loop = place.open()
    assert loop.registry.production() == 1
    assert "skips_7d" in loop.journal.history("streamflow")[-1].decision.reason
    promote_by_hand(loop, 2)
    assert loop.registry.production() == 2


@pytest.mark.nightly
def test_empty_and_constant_columns_do_not_stop_a_turn(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """A column that is empty, and one that never changes, are looked at like any other; the turn
    ends in a decision."""
    column = '[columns.skips_7d]\ntype = "numeric"'
    place = make_place(0, 0, changes={column: f"{column}\nmax_null_rate = 1.0"})
    turn(place, "month_000")
    usage = place.path.parent / "generated/month_001/usage_agg_30d.csv"
    frame = pd.read_csv(usage, dtype=str)
    frame["skips_7d"] = None
    frame.to_csv(usage, index=False)
    decisions = turn(place, "month_001")
    assert decisions[0][0] == "retraining"
    assert decisions[0][1] in ("keep", "retrain")
    entry = next(
        entry
        for entry in place.open().journal.history("streamflow")
        if entry.decision.window == "month_001"
    )
    assert entry.turn.drift is not None
    assert "skips_7d" in entry.turn.drift.drifted_columns, "nulls must not be invisible to drift"


@pytest.mark.nightly
@pytest.mark.skipif(
    not REAL.is_dir(),
    reason="the real snapshots are not beside this repository (../shared/data/streamflow)",
)
def test_the_same_file_runs_on_the_real_snapshots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """data/streamflow/loop.toml unchanged, CLOSEDLOOP_DATA elsewhere: a first model, a report, a
    decision about month_001."""
    from flows.monitor_flow import monitor_flow

    monkeypatch.setenv("CLOSEDLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("CLOSEDLOOP_DATA", str(REAL))
    path = REPOSITORY / "data/streamflow/loop.toml"
    for month in ("month_000", "month_001"):
        monitor_flow(use_case=str(path), window=month)
    loop = open_loop(path, settings=Settings(home=tmp_path, data=REAL))
    second = loop.journal.history("streamflow")[-1]
    assert (second.decision.kind, second.decision.window) == (Kind.RETRAINING, "month_001")
    assert loop.registry.production() == 1
    assert loop.registry.local_file(second.turn.run.run, "drift_report.html")
    assert second.turn.realised.realised_auc is not None


def test_a_turn_needs_nothing_from_its_decorators(make_place: Callable[..., Any]) -> None:
    """Without Prefect's flow around it, a turn is still gather, decide, write: gathering and
    deciding are plain calls."""
    from closedloop.decisions.retraining import decide_retraining

    place = make_place(0)
    history = History(place.open())
    found = observe_window(history)
    assert decide_retraining(found.evidence, place.open().use_case.policy).action is Action.RETRAIN
