"""`closedloop serve`: the APIs of one or more use cases, in one process or several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from math import ceil
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING

from closedloop.cli.service import build_service, open_reader, read_limits, refuse_taken
from closedloop.operations.access.foreign import OwnHosts
from closedloop.registry.live import leave_out_newest
from closedloop.settings import Settings
from closedloop.use_case.contract import UseCase
from closedloop.use_case.several import load_use_cases, refuse_mixed_code

if TYPE_CHECKING:
    from api.guard.keys import Keys
    from api.guard.middleware import ServiceApp
    from api.use_cases import UseCases


def build_services(
    use_cases: Sequence[UseCase],
    settings: Settings,
    host: str,
    where: str,
    started: str,
    keys: Keys,
) -> ServiceApp | UseCases:
    """The app of one use case, as `build_service`, or one app before those of several."""
    if len(use_cases) == 1:
        return build_service(use_cases[0], settings, host, where, started, keys)
    from api.guard.limits import Guard
    from api.process import Process
    from api.use_cases import UseCases

    limits = read_limits(settings)
    process = Process(limits)
    apps = {
        use_case.name: build_service(use_case, settings, host, where, started, keys, process)
        for use_case in use_cases
    }
    return UseCases(apps, Guard(limits, keys, OwnHosts(host, settings.further_hosts)))


def prepare_service(
    settings: Settings,
    use_case: Path | str | None,
    host: str | None,
    port: int | None,
    workers: int | None,
) -> Callable[[], None]:
    """Check everything that can be checked first; call the result to serve until stopped.

    Without a `use_case` it serves those of CLOSEDLOOP_USE_CASES. Raises ClosedLoopError when one
    cannot be read or two do not go together, the address cannot be used, or other machines could
    reach it and there is no API key.
    """
    from api.guard.keys import open_keys

    read = load_use_cases((use_case,) if use_case else settings.named_use_cases)
    refuse_mixed_code(read)
    host, port, workers = host or settings.host, port or settings.port, workers or settings.workers
    refuse_taken(host, port, then="choose another --port, or stop what uses it")
    keys = open_keys(settings.keys_file, host, settings.api_key)
    where, started = f"{host}:{port}/{os.getpid()}", datetime.now(UTC).isoformat(timespec="seconds")
    # A little more than a request may take, so that each gets its answer before we stop.
    patience = settings.request_seconds + 1
    if workers > 1:
        return partial(
            _run_workers,
            partial(create_worker, settings, [each.path for each in read], host, where, started),
            host,
            port,
            workers,
            patience,
            partial(leave_out_newest, [open_reader(each, settings) for each in read]),
        )
    return partial(
        _run_in_this_process,
        partial(build_services, read, settings, host, where, started, keys),
        host,
        port,
        patience,
    )


def _run_in_this_process(
    build: Callable[[], ServiceApp | UseCases], host: str, port: int, patience_seconds: float
) -> None:
    from api.server import run

    run(build(), host, port, patience_seconds=patience_seconds)


def _run_workers(
    build: Callable[[], ServiceApp | UseCases],
    host: str,
    port: int,
    workers: int,
    patience_seconds: float,
    leave_out: Callable[[str], object],
) -> None:
    from api.server import configure
    from closedloop.cli.workers import Workers

    with tempfile.TemporaryDirectory(prefix="closedloop-metrics-") as shared:
        # Each worker writes its metrics there; the one that is asked adds them up.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
        config = configure(
            build,
            factory=True,
            host=host,
            port=port,
            workers=workers,
            timeout_graceful_shutdown=ceil(patience_seconds),
        )
        listening = config.bind_socket()
        Workers(config, [listening], leave_out).run()
        listening.close()


def create_worker(
    settings: Settings, use_cases: Sequence[Path], host: str, where: str, started: str
) -> ServiceApp | UseCases:
    """The app of one worker process; it stops when its parent is gone, however that ended."""
    from api.guard.keys import open_keys
    from api.server import tune_interpreter

    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(
            target=_end_with, args=(parent.sentinel,), name="end-with-parent", daemon=True
        ).start()
    tune_interpreter()
    return build_services(
        load_use_cases(use_cases),
        settings,
        host,
        where,
        started,
        open_keys(settings.keys_file, host, settings.api_key),
    )


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
