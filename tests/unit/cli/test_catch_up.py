"""`closedloop monitor --all`: every window that was not looked at, in order, as single calls would
have done it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer

from closedloop.backtest.cache import CachedCompute
from closedloop.backtest.memory_registry import MemoryRegistry
from closedloop.backtest.policies import Brain
from closedloop.backtest.replay import ReplayParts
from closedloop.cli.catch_up import fail_if_any_failed, find_exit_code, take_turns
from closedloop.cli.session import Session
from closedloop.errors import ModelError, StoreError
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.turn.history import History
from closedloop.turn.take_turn import decided_before, take_turn
from closedloop.turn.waiting_windows import find_waiting
from closedloop.windows.sources import UnreadableWindow
from tests.unit.streams import CONTENT, Frames, make_frame, make_use_case

COMPUTE = CachedCompute()  # the same rows are fitted once for all tests


class Damaged(Frames):
    """Windows of which some cannot be read."""

    damaged: frozenset[str] = frozenset()

    def read(self, window: str) -> pd.DataFrame:
        if window in self.damaged:
            raise UnreadableWindow(where=window, wanted="5 values", got="line 3 has 6", then="")
        return super().read(window)


class LoopInMemory(ReplayParts):
    """A replay's parts, asked as a loop is."""

    def tell_moved(self) -> tuple[str, ...]:
        return ()


@pytest.fixture
def make_loop(tmp_path: Path) -> Callable[..., Any]:
    """A loop in memory with five windows: w1 has no rows, w2 cannot be read."""

    def make() -> ReplayParts:
        frames = {f"w{number}": make_frame(number) for number in range(5)}
        frames["w1"] = frames["w1"].head(0)
        source: Any = Damaged(frames)
        source.damaged = frozenset({"w2"})
        use_case, journal = make_use_case(tmp_path), Journal(open_engine("sqlite://"))
        return LoopInMemory(use_case, source, journal, MemoryRegistry("shop"), COMPUTE)

    return make


def monitor_of(parts: Any) -> Callable[[str], int]:
    """monitor_flow in memory."""

    def monitor(window: str) -> int:
        Brain().turn(parts, window, 0)
        entry = decided_before(History(parts, window))
        assert entry is not None
        return entry.id

    return monitor


def catch_up(
    parts: Any, monitor: Callable[[str], int] | None = None, *, as_json: bool = False
) -> Sequence[Any]:
    """What the command does once the use case is open."""
    chosen = parts.source.windows()
    return take_turns(
        Session({}),
        parts,
        find_waiting(parts, chosen),
        monitor or monitor_of(parts),
        chosen=chosen,
        as_json=as_json,
    )


def decided(parts: Any) -> list[object]:
    """All that the journal holds but ids and times."""
    entries = parts.journal.history("shop")
    return [(entry.key, entry.decision, entry.outcome, entry.details) for entry in entries]


def test_all_looks_at_every_window_in_order_as_single_calls_do(
    make_loop: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The first window trains the first model; the empty one and the one that cannot be read
    escalate and stop nothing; each has a line, and the journal is that of single calls."""
    many, single = make_loop(), make_loop()
    turns = catch_up(many)
    for window in single.source.windows():
        monitor_of(single)(window)
    assert decided(many) == decided(single)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "w0  retrain, promote version 1",
        "w1  escalate",
        "w2  escalate",
        "w3  keep",
        "w4  keep",
        "looked at 5 windows",
    ]
    assert "wanted at least one row, got no rows" in lines[1]
    assert "wanted 5 values, got line 3 has 6" in lines[2]
    assert lines[-1] == "looked at 5 windows: 1 retrain, 2 escalate, 2 keep"
    # --exit-code: one of them calls a person; without those it is that of the newest window.
    assert [find_exit_code(part) for part in (turns, turns[:1], turns[3:], ())] == [12, 10, 0, 0]


def test_all_again_looks_at_nothing_twice(
    make_loop: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The second run takes no turn and says how many windows were looked at before; --json is one
    object."""
    parts = make_loop()
    catch_up(parts)
    before = decided(parts)
    capsys.readouterr()
    catch_up(parts)
    assert capsys.readouterr().out == "looked at 0 windows; 5 windows looked at before\n"
    catch_up(parts, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told == {"turns": [], "looked_at_before": ["w0", "w1", "w2", "w3", "w4"], "left": []}
    assert decided(parts) == before


def test_all_goes_on_where_it_stopped(
    make_loop: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """A database that is away stops it at w3: that is told, and what was done; the same command
    then goes on there, and the journal is that of a run without a stop."""
    parts, whole = make_loop(), make_loop()

    def away(window: str) -> int:
        if window == "w3":
            raise StoreError(where="lock", wanted="a database", got="none", then="start it")
        return monitor_of(parts)(window)

    with pytest.raises(StoreError):
        catch_up(parts, away)
    out, err = capsys.readouterr()
    assert "stopped at w3 after 3 windows of 5: the same command goes on there" in err
    assert out.splitlines()[-1] == "looked at 3 windows: 1 retrain, 2 escalate"
    catch_up(parts, as_json=True)
    assert [turn["window"] for turn in json.loads(capsys.readouterr().out)["turns"]] == ["w3", "w4"]
    catch_up(whole)
    assert decided(parts) == decided(whole)


def test_a_window_whose_training_was_cut_off_is_looked_at_again(
    make_loop: Callable[..., Any],
) -> None:
    """The decision to retrain stands but nothing was trained: the turn is finished."""
    parts = make_loop()
    take_turn(History(parts, "w0"))
    assert find_waiting(parts, ("w0",)) == ("w0",)
    monitor_of(parts)("w0")
    assert find_waiting(parts, ("w0",)) == ()
    assert parts.registry.production() == 1


def test_all_looks_again_at_rows_that_changed_not_at_those_judged_under_another_loop_toml(
    make_loop: Callable[..., Any], tmp_path: Path
) -> None:
    """Other rows are another window. A changed policy judges no old window again, except those
    that broke the contract, which may have been mended in the file."""
    parts = make_loop()
    catch_up(parts)
    newer: Any = Damaged({**parts.source.frames, "w3": make_frame(77)})
    newer.damaged = parts.source.damaged
    parts = replace(parts, source=newer)
    assert find_waiting(parts, newer.windows()) == ("w3",)
    changed = make_use_case(tmp_path, policy={**CONTENT["policy"], "rollback": {"min_rows": 60}})
    assert changed.fingerprint != parts.use_case.fingerprint
    others = replace(parts, use_case=changed)
    assert find_waiting(others, newer.windows()) == ("w1", "w2", "w3")


def test_a_window_that_cannot_be_fitted_does_not_stop_later_ones(
    make_loop: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told in its line and by the exit code; the next windows are looked at."""
    parts = make_loop()

    def unfit(window: str) -> int:
        if window == "w1":
            raise ModelError(where="w1", wanted="two classes", got="one", then="wait")
        return monitor_of(parts)(window)

    turns = catch_up(parts, unfit)
    assert "w1  failed: w1: wanted two classes, got one: wait\n" in capsys.readouterr().out
    assert [turn.window for turn in turns] == ["w0", "w1", "w2", "w3", "w4"]
    with pytest.raises(typer.Exit) as raised:
        fail_if_any_failed(turns)
    assert raised.value.exit_code == ModelError.exit_code
