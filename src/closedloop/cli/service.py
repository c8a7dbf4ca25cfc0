"""The API of a use case with its real parts, which import no MLflow, pandas or scikit-learn."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from closedloop.bundle.explaining import ExplainProcess
from closedloop.bundle.loaded import LoadedVersion
from closedloop.bundle.own_code import allow_own_code
from closedloop.bundle.trial import load_tried
from closedloop.cli.shadow_service import open_shadow
from closedloop.errors import ClosedLoopError
from closedloop.operations.access.foreign import OwnHosts
from closedloop.operations.access.server import listen
from closedloop.records.store import Records
from closedloop.registry.live import PREVIOUS, ProductionReader
from closedloop.settings import Settings
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.turn.known_production import KnownProduction
from closedloop.turn.live_questions import LiveQuestions
from closedloop.turn.moved_aliases import Live, ask_moved
from closedloop.turn.serving_note import note_serving
from closedloop.use_case.contract import UseCase

if TYPE_CHECKING:
    from api.guard.keys import Keys
    from api.guard.limits import RequestLimits
    from api.guard.middleware import ServiceApp
    from api.process import Process

START_SECONDS = 60.0


def build_service(
    use_case: UseCase,
    settings: Settings,
    host: str,
    where: str,
    started: str,
    keys: Keys | None = None,
    process: Process | None = None,
) -> ServiceApp:
    """The app on the registry, records and journal of a use case, for a service on `host`.

    The journal identifies this service by `where` it listens and when it `started`. Without `keys`
    requests need none. `process` is what it shares with services beside it.
    """
    from api.app import create_app
    from api.model.follower import Follower
    from api.model.live import Production

    allow_own_code(use_case)
    engine = open_engine(settings.store_url)
    journal, reader = Journal(engine), open_reader(use_case, settings)
    folders: dict[int, Path] = {}

    def load(version: int) -> LoadedVersion:
        folders[version] = reader.download(version)
        return load_tried(folders[version], settings.tried_folder)

    def load_last_good(version: int) -> LoadedVersion:
        folders[version] = reader.open_last_good()
        return load_tried(folders[version], settings.tried_folder)

    def open_explainer(version: int) -> ExplainProcess:
        return ExplainProcess(folders[version], settings.tried_folder)

    def note_live(version: int) -> None:
        reader.remember(version)
        window = reader.window(version)
        note_serving(journal, use_case.name, version, window=window, where=where, started=started)
        reader.remove_others(version)

    def tell_moved_aliases() -> str:
        told = ask_moved(journal, use_case.name, lambda: Live(reader.find(), reader.find(PREVIOUS)))
        return "; ".join(told)

    follower = Follower(
        Production(),
        KnownProduction(reader, journal, use_case.name).find,
        load,
        note_live,
        find_last_good=reader.last_good,
        tell_moved=tell_moved_aliases,
        load_last_good=load_last_good,
        unrecorded=use_case.unrecorded,
        follow_seconds=settings.follow_seconds,
    )
    records = Records(engine, sync=settings.records_sync)
    return create_app(
        follower,
        records,
        use_case=use_case.name,
        max_rows=settings.max_rows,
        limits=read_limits(settings),
        keys=keys,
        hosts=OwnHosts(host, settings.further_hosts),
        answer_without_records=settings.answer_without_records,
        max_explained_rows=settings.max_explained_rows,
        open_explainer=open_explainer,
        note_served=partial(records.add_served, use_case.name),
        shadow=open_shadow(use_case, settings),
        page_url=settings.page_url,
        live=LiveQuestions(journal, records, use_case.name, reader.origin),
        process=process,
    )


def read_limits(settings: Settings) -> RequestLimits:
    """What a request may take, as the settings say."""
    from api.guard.limits import RequestLimits

    return RequestLimits(
        **{each.name: getattr(settings, each.name) for each in fields(RequestLimits)}
    )


def open_reader(use_case: UseCase, settings: Settings) -> ProductionReader:
    """What a service reads of the registry, and keeps of it."""
    return ProductionReader(
        use_case.name,
        settings.tracking_uri,
        artifacts=settings.artifacts_folder,
        downloads=settings.home_folder / "serving",
    )


def refuse_taken(host: str, port: int, *, then: str) -> None:
    """Raise ClosedLoopError unless this process can listen there.

    `then` says what to do about a port that is taken.
    """
    listen(host, port, then=then).close()


@contextmanager
def serving(use_case: UseCase, settings: Settings, host: str, port: int) -> Iterator[str]:
    """Serve from a thread for the duration of the block; yields the address once a model is ready.

    Port 0 picks a free one. Raises ClosedLoopError when no model is ready in time.
    """
    import uvicorn

    from api.server import configure

    started = datetime.now(UTC).isoformat(timespec="seconds")
    app = build_service(use_case, settings, host, "demo", started)
    listening = socket.create_server((host, port))
    server = uvicorn.Server(configure(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    address = f"http://{host}:{listening.getsockname()[1]}"
    try:
        _wait_until_ready(address)
        yield address
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def _wait_until_ready(address: str) -> None:
    import urllib.error
    import urllib.request

    deadline, got = time.monotonic() + START_SECONDS, "no answer"
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/ready", timeout=5):
                return
        except urllib.error.HTTPError as error:
            got = error.read().decode()[:300]
        except (urllib.error.URLError, OSError) as error:
            got = str(error)
        time.sleep(0.05)
    raise ClosedLoopError(
        where=f"API at {address}",
        wanted="a model that is ready",
        got=got,
        then="run: closedloop doctor",
    )
