"""A service in a process of its own, for tests that stop it."""

from __future__ import annotations

from pathlib import Path

from api.app import create_app
from api.model.follower import Follower
from api.model.live import Production
from api.server import run
from closedloop.bundle.loaded import load_with_pipeline
from closedloop.records.store import Records
from closedloop.storage.engine import open_engine


def serve_until_told(folder: Path, database_url: str, port: int) -> None:
    """Serve one bundle as version 1 the way `closedloop serve` does, until a signal says that it is
    enough."""
    bundle = load_with_pipeline(folder)
    follower = Follower(Production(), lambda: 1, lambda _version: bundle, lambda _version: None)
    run(create_app(follower, Records(open_engine(database_url))), "127.0.0.1", port)
