"""Start the processes of `closedloop up` together, watch them, and stop them together."""

from __future__ import annotations

import fcntl
import signal
import socket
import subprocess
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from rich.console import Console

from closedloop.cli.plain_text import plain
from closedloop.cli.service import refuse_taken
from closedloop.cli.session import Session
from closedloop.cli.stack_processes import StackProcess, list_processes
from closedloop.errors import ClosedLoopError, UseCaseError
from closedloop.operations.access.ask import ask
from closedloop.operations.access.server import listen, start_server
from closedloop.operations.access.servers_file import announced
from closedloop.operations.child_process import start_child, stop_child, tell_end
from closedloop.settings import Settings
from closedloop.turn.open import Loop
from closedloop.use_case.schedule import check_cron
from flows.prefect_client.names import MONITOR, TRAIN, name_deployment

START_SECONDS = 180.0
LOOK_SECONDS = 60.0
Running = dict[StackProcess, subprocess.Popen[bytes]]


def run_stack(session: Session, loops: Sequence[Loop], cron: str | None = None) -> None:
    """Start everything, print the addresses, and wait for Ctrl-C, SIGTERM or the end of a process.

    `cron` replaces the schedule of each loop.toml. Raises UseCaseError when it is malformed,
    ClosedLoopError when a port is taken, when other machines could reach the API without a key, or
    when a process does not start or ends.
    """
    settings = session.settings
    crons = [loop.use_case.schedule.cron if cron is None else _checked(cron) for loop in loops]
    processes = list_processes(settings, loops, crons, session.environment)
    home, logs = settings.home_folder, settings.home_folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    servers = {
        process.name: found
        for process in processes
        if (found := process.server or process.announced)
    }
    with ExitStack() as stack:
        sockets = _take_ports(settings, processes, stack)
        stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
        stack.enter_context(_only_stack_in(home))
        running = stack.enter_context(_stopped_at_the_end(session))
        with session.working("preparing the registry ..."):
            # Also creates the database, before two processes try to at once.
            live = [loop.registry.production() for loop in loops]
        stack.enter_context(announced(home, servers))
        for first in (True, False):
            group = [process for process in processes if (process.server is not None) is first]
            with session.working(f"starting {' and '.join(process.name for process in group)} ..."):
                _start(session, group, sockets, running, logs, stopping)
        if not stopping.is_set():
            _show_addresses(session.console, processes, logs)
            _show_deployments(session.console, loops, crons, live)
        _watch(running, logs, stopping, _each_minute(lambda: _watch_calls(session, loops)))


def _take_ports(
    settings: Settings, processes: Sequence[StackProcess], stack: ExitStack
) -> dict[StackProcess, socket.socket]:
    """The sockets of the servers, held until the end; the API must be able to make its own.

    Mistakes show here that would otherwise show after everything else has started.
    """
    from api.guard.keys import open_keys

    sockets = {}
    for process in processes:
        if process.port is None:
            continue
        then = f"stop what uses it, or set {process.variable} to another port for {process.name}"
        if process.server is None:
            refuse_taken(process.host, process.port, then=then)
        else:
            listening = listen(process.host, process.port, then=then)
            sockets[process] = stack.enter_context(listening)
    open_keys(settings.keys_file, settings.host, settings.api_key)
    open_keys(settings.keys_file, settings.page_host, settings.api_key, what="the page")
    return sockets


def _start(
    session: Session,
    group: Sequence[StackProcess],
    sockets: dict[StackProcess, socket.socket],
    running: Running,
    logs: Path,
    stopping: threading.Event,
) -> None:
    further = session.settings.further_hosts
    for process in group:
        variables = {**session.environment, **process.environment}
        environment = {name: value for name, value in variables.items() if value}
        log = _log_of(process, logs)
        if process.server is not None:
            running[process] = start_server(
                process.factory,
                sockets[process],
                process.server.login,
                hosts=(process.host, *further),
                environment=environment,
                log=log,
            )
        else:
            running[process] = start_child(process.command, environment=environment, log=log)
    for process in group:
        _wait_for(process, running[process], logs, stopping)


def _each_minute(look: Callable[[], None]) -> Callable[[], None]:
    """Calls `look` when it is asked to and a minute has passed since the last time."""
    looked = time.monotonic()

    def look_if_due() -> None:
        nonlocal looked
        if time.monotonic() - looked >= LOOK_SECONDS:
            looked = time.monotonic()
            look()

    return look_if_due


def _watch_calls(session: Session, loops: Sequence[Loop]) -> None:
    """Take back a promotion whose calls fail; what is away now is looked at again in a minute."""
    from closedloop.turn.watch_served import watch_served

    for loop in loops:
        entry = None
        with suppress(ClosedLoopError):
            entry = watch_served(loop)
        if entry is not None:
            said = f"decision {entry.id}: {entry.decision.action.value}: {entry.decision.reason}"
            session.print_line(plain(said))


def _watch(
    running: Running, logs: Path, stopping: threading.Event, beside: Callable[[], None]
) -> None:
    while not stopping.wait(1.0):
        beside()
        for process, child in running.items():
            if child.poll() is not None:
                raise ClosedLoopError(
                    where="closedloop up",
                    wanted=f"{process.name} to keep running",
                    got=tell_end(child.returncode, _log_of(process, logs)),
                    then=f"read {_log_of(process, logs)}",
                )


def _checked(cron: str) -> str:
    try:
        check_cron(cron)
    except ValueError as error:
        raise UseCaseError(
            where="--cron",
            wanted=str(error).rpartition(", got ")[0],
            got=repr(cron),
            then="correct it",
        ) from None
    return cron


@contextmanager
def _only_stack_in(home: Path) -> Iterator[None]:
    """Refuse a second stack on one home: both would share a Prefect database and overwrite logs."""
    with open(home / "up.lock", "w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ClosedLoopError(
                where=str(home),
                wanted="one closedloop up per CLOSEDLOOP_HOME",
                got="a second one while another runs",
                then="stop the other one first, or set CLOSEDLOOP_HOME to another folder",
            ) from None
        yield


@contextmanager
def _stopped_at_the_end(session: Session) -> Iterator[Running]:
    """The processes that the block starts; all are stopped at its end, servers last."""
    running: Running = {}
    try:
        yield running
    finally:
        with session.working("stopping ..."), ThreadPoolExecutor() as pool:
            for servers in (False, True):
                group = [
                    child
                    for process, child in running.items()
                    if (process.server is not None) is servers
                ]
                list(pool.map(stop_child, group))


def _log_of(process: StackProcess, logs: Path) -> Path:
    # Names of use cases may differ by a capital only.
    return logs / f"{process.name if process.announced else process.name.lower()}.log"


def _wait_for(
    process: StackProcess,
    child: subprocess.Popen[bytes],
    logs: Path,
    stopping: threading.Event,
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.probe and not stopping.wait(0.2):
        if (code := child.poll()) is None:
            try:
                ask(process.probe, process.login, timeout=1)
                return
            except (urllib.error.URLError, OSError):
                pass
        if code is not None or time.monotonic() > deadline:
            got = (
                tell_end(code, _log_of(process, logs))
                if code is not None
                else f"no answer in {START_SECONDS:.0f} s"
            )
            raise ClosedLoopError(
                where="closedloop up",
                wanted=f"{process.name} to start",
                got=got,
                then=f"read {_log_of(process, logs)}",
            )


def _show_addresses(console: Console, processes: Sequence[StackProcess], logs: Path) -> None:
    lines = [*(line for process in processes for line in process.pages.items())]
    for name, text in (*lines, ("logs", str(logs))):
        _show_line(console, name, text)


def _show_deployments(
    console: Console, loops: Sequence[Loop], crons: Sequence[str], live: Sequence[int | None]
) -> None:
    without = []
    for loop, cron, version in zip(loops, crons, live, strict=True):
        use_case = loop.use_case
        monitor, train = (name_deployment(flow, use_case.name) for flow in (MONITOR, TRAIN))
        said = f"{monitor} ({cron}, {use_case.schedule.timezone}), {train}"
        _show_line(console, "deployments", said)
        if version is None:
            without.append(monitor)
    for monitor in without:
        console.print(
            f"no model yet, so the API answers 503: closedloop monitor, or run {monitor} "
            "in Prefect",
            highlight=False,
        )
    console.print("Ctrl-C stops everything", highlight=False)


def _show_line(console: Console, name: str, text: str) -> None:
    # Unbroken: addresses are clicked.
    console.print(f"{name:13} {text}", soft_wrap=True, highlight=False, markup=False)
