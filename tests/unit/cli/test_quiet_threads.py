"""Background threads keep stderr to the command's own sentence."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from closedloop.cli import app
from closedloop.cli.app import main


def _fail() -> None:
    raise ValueError("lost\nits server")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("command", "debug", "loud"),
    [("status", "", False), ("status", "1", True), ("serve", "", True)],
)
def test_noise_of_background_threads_stays_off_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, debug: str, loud: bool
) -> None:
    """A thread that an error ends while a command runs leaves one line in a log, unless that is
    debugged or the service; afterwards everything is as before."""
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("CLOSEDLOOP_DEBUG", debug)
    shown: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", before := shown.append)

    def run(command: object, *, debug: bool) -> int:
        thread = threading.Thread(target=_fail, name="sender")
        thread.start()
        thread.join()
        return 0

    monkeypatch.setattr(app, "report_errors", run)
    assert main([command], os.environ) == 0
    log = tmp_path / "logs" / "threads.log"
    assert (len(shown), log.exists()) == (int(loud), not loud)
    if not loud:
        assert log.read_text().endswith(" sender ended with ValueError: lost its server\n")
        assert log.read_text().count("\n") == 1
    assert threading.excepthook is before
