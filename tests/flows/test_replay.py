"""A replay decides what the live loop decides: the same windows through `monitor_flow` on real
MLflow, and in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from closedloop.backtest.cache import CachedCompute
from closedloop.backtest.policies import Brain
from closedloop.backtest.replay import Past, Stream, fit_first, replay
from closedloop.decisions.checks import Action, Kind

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]


@pytest.mark.nightly
def test_a_replay_decides_what_the_live_loop_decides(
    make_place: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A campaign that comes and goes, broken data and quiet months: actions, versions and reasons
    are the same, to the last digit of every number in them, and so are the versions with what they
    were trained on. Only what packaging adds is left out."""
    from flows.monitor_flow import monitor_flow
    from flows.train_and_compare_flow import train_and_compare_flow

    place = make_place(0, 0, 2, 0, 5, 4, 4, 0, rows=1500)
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(place.settings.home))
    loop = place.open()
    names = loop.source.windows()
    train_and_compare_flow(use_case=str(place.path), window=names[0])
    assert loop.registry.production() == 1
    for name in names[1:-1]:
        monitor_flow(use_case=str(place.path), window=name)

    past = Past(Stream(loop.source), loop.use_case, CachedCompute(), 1)
    rounds = replay(past, Brain(), fit_first(past))
    entries = [
        entry
        for entry in loop.journal.history(loop.use_case.name)
        if entry.decision.kind not in (Kind.SERVING, Kind.QUARANTINE)
    ]
    lived = []
    for name in names[1:-1]:
        decided = [entry.decision for entry in entries if entry.decision.window == name]
        # A rollback that was considered and left is written down before the turn's own decision.
        told = [
            decision
            for decision in decided
            if not (decision.kind is Kind.ROLLBACK and decision.action is Action.KEEP)
        ]
        lived.append((name, tuple(decision.action.value for decision in told), told[-1].reason))
    assert [(played.window, played.actions, played.reason) for played in rounds] == lived
    assert {action for played in rounds for action in played.actions} >= {
        "retrain",
        "promote",
        "rollback",
        "escalate",
    }
    trained = {played.candidate: played.trained_on for played in rounds if played.candidate}
    assert trained == {
        version.version: loop.registry.load(version.version).facts.trained_windows
        for version in loop.registry.versions()[1:]
    }
    assert rounds[-1].production == loop.registry.production()
