"""`closedloop alert`: a test of each channel, a look, and the list of what was told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from closedloop.cli.app import main
from tests.receivers import Webhook, serving
from tests.unit.operations.alerts.conftest import SECRET, Place, write_loop_toml

LOOP_TOML = write_loop_toml("escalated")
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def receiver() -> Iterator[Webhook]:
    """A webhook that answers."""
    webhook = Webhook()
    with serving(webhook):
        yield webhook


@pytest.fixture
def run(
    tmp_path: Path,
    receiver: Webhook,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run the command on a use case whose webhook has an address; returns its code and output."""
    (tmp_path / "loop.toml").write_text(LOOP_TOML, encoding="utf-8")
    monkeypatch.setenv("COLUMNS", "200")
    environment = {
        **os.environ,
        "CLOSEDLOOP_HOME": str(tmp_path),
        "CLOSEDLOOP_ALERT_WEBHOOK_URL": receiver.address,
        "CLOSEDLOOP_ALERT_WEBHOOK_SECRET": SECRET,
    }

    def start(*words: str) -> tuple[int, str]:
        code = main(["alert", "--use-case", str(tmp_path / "loop.toml"), *words], environment)
        return code, capsys.readouterr().out

    return start


def test_a_test_says_what_each_channel_answered(run: Run, receiver: Webhook) -> None:
    """It ends with 0 when each took it, and with 1 when one did not; no address is printed."""
    assert run("--test") == (0, "webhook: sent\n")
    receiver.answer = 500
    assert run("--test") == (1, "webhook: not sent: it answered 500\n")
    code, said = run("--test", "--json")
    assert (code, json.loads(said)) == (1, [{"channel": "webhook", "error": "it answered 500"}])


def test_a_look_sends_what_is_new_and_the_list_shows_it(
    run: Run, tmp_path: Path, receiver: Webhook
) -> None:
    """--send looks now; without an option, what was sent and what waits is listed, for people
    with its escapes and for programs with all of its text."""
    assert run() == (0, "no alerts yet\n")
    assert run("--send")[0] == 0
    place = Place(tmp_path)
    place.escalate("2026-01 \x1b[31m[red]")
    assert run("--send")[1].startswith("1 new alerts; 1 sent, 0 failed, 0 given up\n")
    receiver.answer = 500
    place.escalate("2026-02")
    run("--send")
    _, told = run()
    assert "shop: a person is called for 2026-01 \\x1b[31m[red]" in told
    assert "waits: it answered 500" in told
    code, said = run("--json", "--last", "1")
    (newest,) = json.loads(said)
    assert code == 0
    assert (newest["state"], newest["attempts"], newest["last_error"]) == (
        "waits",
        1,
        "it answered 500",
    )
    assert newest["key"] == "shop/escalated/2"


def test_two_options_at_once_are_refused(run: Run) -> None:
    """--test keeps nothing and --send does: together they would be unclear."""
    assert run("--test", "--send")[0] == 2
