"""The embedded Prefect server: started only when none is named, ended with its block."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from closedloop.errors import ClosedLoopError
from closedloop.operations.access.servers_file import RunningServer, announced
from flows.deployment import embedded_server
from flows.deployment.embedded_server import EmbeddedPrefect, embedded_prefect, using

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_server_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


def test_a_server_that_ends_while_it_starts_is_an_error_that_names_its_log(tmp_path: Path) -> None:
    """Waiting for a server that ended fails at once with its exit code and the path of its log."""
    server = EmbeddedPrefect(tmp_path / "logs" / "prefect.log")
    server.stop()
    with pytest.raises(
        ClosedLoopError,
        match=r"wanted a server that answers, got exit code \d+: read .*prefect\.log",
    ):
        server.wait()


def test_a_database_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's last error is told, which names the file and says what to do with it."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    (tmp_path / "prefect.db").write_bytes(b"not a database at all" * 100)
    server = EmbeddedPrefect(tmp_path / "prefect.log")
    try:
        with pytest.raises(
            ClosedLoopError, match=r"exit code 1, .*prefect\.db: wanted Prefect's .*: move it away"
        ):
            server.wait()
    finally:
        server.stop()


def test_a_server_that_takes_too_long_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting ends, and the error says after how long."""
    monkeypatch.setattr(embedded_server, "START_SECONDS", 0)
    server = EmbeddedPrefect(tmp_path / "prefect.log")
    try:
        with pytest.raises(ClosedLoopError, match="no answer in 0 s"):
            server.wait()
    finally:
        server.stop()


def test_the_server_ends_with_its_block(tmp_path: Path) -> None:
    """Even when the block fails, the process ends and PREFECT_API_URL is unset."""
    started: list[EmbeddedPrefect] = []

    def fail(server: EmbeddedPrefect | None) -> None:
        assert server is not None
        started.append(server)
        os.environ["PREFECT_API_URL"] = server.url
        raise RuntimeError("mine")

    with (
        pytest.raises(RuntimeError, match="mine"),
        embedded_prefect(tmp_path) as server,
    ):
        fail(server)
    assert started[0]._process.returncode is not None
    assert "PREFECT_API_URL" not in os.environ


def test_a_server_that_the_environment_names_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is started, and the address stays as it was."""
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect:4200/api")
    with embedded_prefect(tmp_path) as server, using(server):
        assert server is None
        assert os.environ["PREFECT_API_URL"] == "http://prefect:4200/api"
    assert os.environ["PREFECT_API_URL"] == "http://prefect:4200/api"
    assert list(tmp_path.iterdir()) == []


def test_the_server_of_closedloop_up_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is started beside it on the same database, and it goes on; one that does not answer
    yet is not waited for."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    with embedded_prefect(tmp_path / "first") as server:
        assert isinstance(server, EmbeddedPrefect)
        address = server.url.removesuffix("/api")
        found = RunningServer(address, server.environment["PREFECT_API_AUTH_STRING"], "")
        with announced(tmp_path, {"Prefect": found}):
            with embedded_prefect(tmp_path) as early:
                assert isinstance(early, EmbeddedPrefect)
            server.wait()
            with embedded_prefect(tmp_path) as used, using(used):
                assert used is not None
                assert used.url == server.url
                assert os.environ["PREFECT_API_URL"] == server.url
            assert server.wait() == server.url
        assert "PREFECT_API_URL" not in os.environ
