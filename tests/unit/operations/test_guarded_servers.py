"""Who is let in by a server behind a login, and where the login stands."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from closedloop.errors import ClosedLoopError
from closedloop.operations.access.ask import ask
from closedloop.operations.access.foreign import OwnHosts
from closedloop.operations.access.guard import Guard
from closedloop.operations.access.server import listen, make_login, start_server
from closedloop.operations.access.servers_file import RunningServer, announced, find_running
from closedloop.operations.child_process import stop_child
from closedloop.settings import Settings
from tests.unit.operations.requests_made import scope_of

LOGIN = "closedloop:secret"
BASIC = ("Authorization", f"Basic {b64encode(LOGIN.encode()).decode()}")


def answer(scope: dict[str, Any], *, kind: str = "http") -> tuple[int, dict[str, str], list[Any]]:
    """What a guarded application answers: status (0 for a refused websocket), headers, and the
    requests that reached it."""
    reached: list[Any] = []
    sent: list[Any] = []

    async def application(passed: Any, receive: Any, send: Any) -> None:
        reached.append(passed)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    guard = Guard(application, LOGIN, OwnHosts("127.0.0.1"), 4200)
    asyncio.run(guard({**scope, "type": kind}, None, send))  # type: ignore[arg-type]
    first = sent[0]
    headers = {name.decode(): value.decode() for name, value in first.get("headers", [])}
    return first.get("status", 0), headers, reached


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        ([BASIC], 200),
        ([("Authorization", BASIC[1].replace("Basic", "basic"))], 200),
        ([("Authorization", "Basic c2VjcmV0")], 401),
        ([("Authorization", "Basic")], 401),
        ([("Authorization", BASIC[1].replace("Basic", "Bearer"))], 401),
        ([("Authorization", "Basic \xff")], 401),
        ([("Cookie", "other=1; closedloop-4200=secret")], 200),
        ([("Cookie", "closedloop-4200=secre")], 401),
        ([("Cookie", "closedloop-5000=secret")], 401),
        ([("Cookie", "closedloop-4200=; x")], 401),
        ([BASIC, ("Host", "evil.example")], 403),
        ([("Cookie", "closedloop-4200=secret"), ("Origin", "http://127.0.0.1:3000")], 403),
    ],
)
def test_programs_have_the_login_and_browsers_the_cookie(
    headers: list[tuple[str, str]], status: int
) -> None:
    """Nothing reaches the application without one of them, websockets included, nor with one of
    them from another page."""
    for kind, path in (("http", "/api/deployments/"), ("websocket", "/api/events/in")):
        got, _, reached = answer(scope_of(*headers, path=path), kind=kind)
        assert len(reached) == (status == 200)
        assert got == (status if kind == "http" or status == 200 else 0)


def test_a_link_lets_a_person_in_and_forgets_its_token() -> None:
    """It is answered with a cookie that no script and no other site gets, and leads to the same
    page on this server; a wrong token and a POST are refused."""
    status, headers, reached = answer(scope_of(path="//evil.example/\\a", query="token=secret&x=1"))
    assert (status, reached) == (303, [])
    assert headers["location"] == "/evil.example/%5Ca"
    assert headers["set-cookie"] == "closedloop-4200=secret; Path=/; HttpOnly; SameSite=Strict"
    assert answer(scope_of(query="token=wrong"))[0] == 401
    assert answer(scope_of(query="token="))[0] == 401
    assert answer(scope_of(query="token=secret", method="POST"))[0] == 401
    assert answer(scope_of(query="token=secret"), kind="websocket")[0] == 0


def test_health_is_open_and_nothing_beside_it() -> None:
    """It can be asked without a login, by GET and on its own path."""
    assert answer(scope_of(path="/api/health"))[0] == 200
    assert answer(scope_of(path="/api/health", method="POST"))[0] == 401
    assert answer(scope_of(path="/api/health/"))[0] == 401
    assert answer(scope_of(path="/api/variables/name/health"))[0] == 401
    assert answer(scope_of(("Host", "evil.example"), path="/health"))[0] == 403


def test_servers_are_found_while_they_run(tmp_path: Path) -> None:
    """By programs of their owner: the file is for nobody else, even if it was there before, and
    what a killed process left in it counts for nothing."""
    file, server = tmp_path / "servers.json", RunningServer("http://127.0.0.1:1", LOGIN, "/#/a?b=c")
    assert find_running(tmp_path) == {}
    file.touch(0o666)
    with announced(tmp_path, {"MLflow": server}):
        assert find_running(tmp_path) == {"MLflow": server}
        assert file.stat().st_mode & 0o777 == 0o600
        left_behind = file.read_text()
    assert find_running(tmp_path) == {}
    file.write_text(left_behind)
    assert find_running(tmp_path) == {}
    assert server.link() == "http://127.0.0.1:1/?token=secret#/a?b=c"
    assert server.link("/deployments") == "http://127.0.0.1:1/deployments?token=secret"


def test_only_the_api_is_opened_by_the_host_of_the_api() -> None:
    """CLOSEDLOOP_HOST=0.0.0.0 leaves MLflow and Prefect on this machine; each can be named on its
    own, and addresses are those of this machine, in brackets where they need some."""
    opened = Settings.read({"CLOSEDLOOP_HOST": "0.0.0.0"})
    assert (opened.mlflow_host, opened.prefect_host) == ("127.0.0.1", "127.0.0.1")
    assert opened.api_address == "http://127.0.0.1:8080"
    named = Settings.read({"CLOSEDLOOP_MLFLOW_HOST": "::", "CLOSEDLOOP_PREFECT_HOST": "localhost"})
    assert (named.mlflow_ui, named.prefect_address) == (
        "http://[::1]:5000",
        "http://127.0.0.1:4200",
    )


def create_echo() -> Any:
    """An application that answers with the names of the variables of its process."""

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": " ".join(os.environ).encode()})

    return echo


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[tuple[str, str, subprocess.Popen[bytes]]]:
    """A server behind a login: its address, its login, its process."""
    login = make_login()
    with listen("127.0.0.1", 0, then="") as listening:
        server = start_server(
            f"{__name__}:create_echo",
            listening,
            login,
            hosts=["127.0.0.1"],
            environment={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            log=tmp_path / "log",
        )
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", login, server
        finally:
            stop_child(server)


def test_a_server_answers_on_the_socket_of_its_parent(
    echo: tuple[str, str, subprocess.Popen[bytes]],
) -> None:
    """So nobody else can have the port first, or between two starts, and be told the login; the
    login stands on no command line and is not handed on."""
    address, login, server = echo
    said = ask(address, login, timeout=30).decode().split()
    assert "PATH" in said
    assert "SERVER_LOGIN" not in said
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(address, make_login())
    port = int(address.rpartition(":")[2])
    with pytest.raises(ClosedLoopError, match="wanted a free port, got one in use: stop it"):
        listen("127.0.0.1", port, then="stop it")
    stop_child(server)
    with pytest.raises(ClosedLoopError, match="one in use"):
        listen("127.0.0.1", port, then="stop it")


def test_a_login_is_told_to_no_proxy(
    echo: tuple[str, str, subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Questions to our own servers go straight to them, whatever the environment says."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert ask(echo[0], echo[1], timeout=30)
