"""What a run of a flow writes is private, and nothing else of its process changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import flows.alert_flow
import flows.answer_flow
import flows.housekeeping_flow
import flows.monitor_flow
import flows.probation_flow
import flows.prune_flow
import flows.rollback_flow
import flows.train_and_compare_flow
from closedloop.storage.home import making_files
from closedloop.turn.open import open_loop
from flows.private_files import privately
from tests.turned_loop import write_loop

FLOWS = [
    flows.alert_flow.alert_flow,
    flows.answer_flow.answer_flow,
    flows.housekeeping_flow.housekeeping_flow,
    flows.monitor_flow.monitor_flow,
    flows.probation_flow.probation_flow,
    flows.prune_flow.prune_flow,
    flows.rollback_flow.rollback_flow,
    flows.train_and_compare_flow.train_and_compare_flow,
]


def test_a_run_makes_private_files_and_its_process_goes_on_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal that a run makes is its user's alone, also when the run fails; a use case that is
    opened from Python changes no mode of later files."""
    turned = write_loop(tmp_path, 1)
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(turned.settings.home_folder))

    @privately
    def flow(use_case: str) -> None:
        open_loop(use_case).journal.history("shop")
        raise ValueError("as it was")

    with making_files(0o022):
        with pytest.raises(ValueError, match="as it was"):
            flow(str(turned.path))
        open_loop(turned.path)
        assert os.umask(0o022) == 0o022
    journal = turned.settings.home_folder / "closedloop.db"
    assert journal.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_every_flow_does_so(flow: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of whatever a flow does first, the use case that it opens, the files would be private."""
    seen: list[int] = []

    def look(*_: object, **__: object) -> None:
        seen.append(os.umask(0o077))
        raise InterruptedError

    monkeypatch.setenv("CLOSEDLOOP_HOME", str(tmp_path / "home"))
    module = __import__(flow.fn.__module__, fromlist=["open_loop"])  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "open_loop", look)
    monkeypatch.setattr("flows.telling.open_loop", look)
    monkeypatch.setattr(module, "cancel_missed_runs", lambda: None, raising=False)
    monkeypatch.setattr(module, "this_run", lambda: None, raising=False)
    needed = {"decision": "1", "answer": "approve", "reason": "x"}
    named = needed if "answer_flow" in module.__name__ else {}
    with making_files(0o022), pytest.raises(InterruptedError):
        flow.fn(**named)  # type: ignore[attr-defined]
    assert seen[0] == 0o077
