"""The embedded Prefect server: started only where none is named, ended with its block, and its
failure to start is an error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from closedloop.errors import ClosedLoopError
from flows.deployment import own_server as embedded
from flows.deployment.own_server import EmbeddedPrefect, embedded_prefect, using


@pytest.fixture(autouse=True)
def no_server_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


def test_a_server_that_ends_while_it_starts_is_an_error_that_names_its_log(tmp_path: Path) -> None:
    """Waiting for a server that is gone ends at once, says with which code it went and where to
    read why."""
    server = EmbeddedPrefect(tmp_path / "logs" / "prefect.log")
    server.stop()
    with pytest.raises(
        ClosedLoopError,
        match=r"embedded Prefect: wanted a server that answers, got exit code \d+: read .*prefect\.log",
    ):
        server.wait()


def test_a_server_that_takes_too_long_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience has an end, and the error says how long it was."""
    monkeypatch.setattr(embedded, "START_SECONDS", 0)
    server = EmbeddedPrefect(tmp_path / "prefect.log")
    try:
        with pytest.raises(ClosedLoopError, match="no answer in 0 s"):
            server.wait()
    finally:
        server.stop()


def test_the_server_ends_with_its_block(tmp_path: Path) -> None:
    """Also when the block fails: its process is gone and no address stays in the environment."""
    started: list[EmbeddedPrefect] = []

    def fail(server: EmbeddedPrefect | None) -> None:
        assert server is not None
        started.append(server)
        os.environ["PREFECT_API_URL"] = server.url
        raise RuntimeError("mine")

    with (
        pytest.raises(RuntimeError, match="mine"),
        embedded_prefect(tmp_path / "prefect.log") as server,
    ):
        fail(server)
    assert started[0]._process.returncode is not None
    assert "PREFECT_API_URL" not in os.environ


def test_a_server_that_the_environment_names_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is started, and the address stays as it was."""
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect:4200/api")
    with embedded_prefect(tmp_path / "prefect.log") as server, using(server):
        assert server is None
        assert os.environ["PREFECT_API_URL"] == "http://prefect:4200/api"
    assert os.environ["PREFECT_API_URL"] == "http://prefect:4200/api"
    assert not (tmp_path / "prefect.log").exists()
