"""`python -m closedloop.operations.access.server FACTORY SOCKET HOST...`: a server behind a login.

Its parent binds the address and hands the socket down, so whoever answers there is this process: a
client cannot be made to tell its login to somebody who took the port first.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path

from closedloop.errors import ClosedLoopError
from closedloop.operations.access.foreign import OwnHosts
from closedloop.operations.access.guard import Guard
from closedloop.operations.child_process import start_child

# In the environment, because a command line is shown to every user of the machine.
_LOGIN = "SERVER_LOGIN"


def make_login() -> str:
    """A new login, as `user:password`."""
    return f"closedloop:{secrets.token_urlsafe(32)}"


def listen(host: str, port: int, *, then: str) -> socket.socket:
    """A socket that listens on `host`; port 0 picks a free one.

    Raises ClosedLoopError when this process cannot listen there; `then` says what to do about a
    port that is taken.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ClosedLoopError(
                where=f"port {port} on {host}", wanted="a free port", got="one in use", then=then
            ) from None
        raise ClosedLoopError(
            where=f"{host}:{port}",
            wanted="an address of this machine and a port we may open",
            got=error.strerror or str(error),
            then="choose another --host or --port",
        ) from None


def start_server(
    factory: str,
    listening: socket.socket,
    login: str,
    *,
    hosts: Iterable[str],
    environment: Mapping[str, str],
    log: Path,
) -> subprocess.Popen[bytes]:
    """Start the ASGI application that `module:function` makes, on a socket, behind a login.

    It may be asked under the names `hosts`, the first of which is the one it listens on. It ends
    with this process.
    """
    return start_child(
        [
            *(sys.executable, "-m", "closedloop.operations.access.server"),
            *(factory, str(listening.fileno()), *hosts),
        ],
        environment={**environment, _LOGIN: login},
        log=log,
        keep=[listening.fileno()],
    )


def main(factory: str, descriptor: str, host: str, *more: str) -> None:
    """Serve until SIGTERM."""
    import uvicorn

    login = os.environ.pop(_LOGIN)
    listening = socket.socket(fileno=int(descriptor))
    module, _, function = factory.partition(":")
    application = getattr(import_module(module), function)()
    guard = Guard(application, login, OwnHosts(host, more), listening.getsockname()[1])
    # No access log: the links that let people in would stand there.
    config = uvicorn.Config(guard, access_log=False, log_level="error", lifespan="on")
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(*sys.argv[1:])
