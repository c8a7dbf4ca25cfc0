"""A team's Prefect server as fixtures: empty, with a use case deployed, and with workers."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator

import pytest

from tests.flows.conftest import PRELOADED, write_use_case
from tests.flows.team import Team
from tests.postgres import Cluster


@pytest.fixture(scope="module")
def team(postgres: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A server without deployments, and a use case without rows yet."""
    folder = tmp_path_factory.mktemp("team")
    changes = {
        'cron = "0 6 * * *"': 'cron = "30 5 * * *"',
        'timezone = "UTC"': 'timezone = "Europe/Berlin"',
        "[schedule]": '[alerts]\nchannels = ["ops"]\ncron = "0 0 1 1 *"\n\n[schedule]',
    }
    path = write_use_case(folder / "case", changes=changes)
    server, store = (postgres.make_database().partition("://")[2] for _ in range(2))
    team = Team(folder, path, f"postgresql+asyncpg://{server}", f"postgresql+psycopg://{store}")
    try:
        team.start_server()
        warm = threading.Thread(target=take_turn, args=(team, True))
        warm.start()
        team.wait_for_server()
        warm.join()
        yield team
    finally:
        team.stop()


@pytest.fixture(scope="module")
def deployed(team: Team) -> Team:
    """The use case is deployed."""
    if not team.ask("/deployments/filter", {}):
        team.deploy(team.path)
    return team


@pytest.fixture(scope="module")
def worker(deployed: Team) -> Team:
    """One worker for each pool, one run at a time; the training pool is paused."""
    let_train(deployed, False)
    for pool in ("closedloop", "closedloop-training"):
        deployed.start_worker(pool, "--limit", "1")
    return deployed


def let_train(team: Team, allowed: bool) -> None:
    """Resume or pause the training pool."""
    team.ask("/work_pools/closedloop-training", {"is_paused": not allowed}, "PATCH")


def take_turn(team: Team, only_warm: bool = False) -> None:
    """Run `monitor_flow` in a child process, as `closedloop monitor` would on this server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    child = context.Process(
        target=_monitor_in_child, args=(team.url, team.environment, str(team.path), only_warm)
    )
    child.start()
    child.join()
    assert child.exitcode == 0


def _monitor_in_child(url: str, environment: dict[str, str], path: str, only_warm: bool) -> None:
    os.environ.update(environment)
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.monitor_flow import monitor_flow

    # Not left to the environment: the process we were forked from may be older than the server.
    with temporary_settings(updates={PREFECT_API_URL: url}):
        if not only_warm:
            monitor_flow(use_case=path)
