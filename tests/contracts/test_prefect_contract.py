"""What we rely on of Prefect: its server for the length of a command, and how it reads what stands
in loop.toml."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import HTTPError

import pytest

from closedloop.operations.access.ask import ask
from closedloop.settings import Settings
from closedloop.use_case.schedule import Schedule
from flows.deployment.embedded_server import embedded_prefect, using
from tests.unit.use_case.test_schedule import TAKEN


@pytest.mark.nightly
def test_one_server_after_another_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every state of a task reaches the server that its flow ran on, the first or the second, and
    no event is left over for a server that is gone: Prefect would try each of them for seven
    seconds before the process may end. Only who has the server's login is answered."""
    from prefect import flow, task
    from prefect.events.worker import EventsWorker

    work = flow(task(lambda: None, name="work"), name="one task")
    for variable, value in Settings(home=tmp_path).library_environment().items():
        monkeypatch.setenv(variable, value)
    for runs in (1, 2):
        for variable in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
            monkeypatch.delenv(variable, raising=False)
        with embedded_prefect(tmp_path) as server, using(server):
            work()
            assert server is not None
            with pytest.raises(HTTPError, match="401"):
                ask(f"{server.url}/admin/version")
            assert ask(f"{server.url}/admin/version", os.environ["PREFECT_API_AUTH_STRING"])
        assert "PREFECT_API_AUTH_STRING" not in os.environ
        assert not EventsWorker._instances
        with closing(sqlite3.connect(tmp_path / "prefect" / "prefect.db")) as store:
            assert store.execute(
                "select state_type, count(*) from task_run group by 1"
            ).fetchall() == [("COMPLETED", runs)]


@pytest.mark.parametrize("line", TAKEN)
def test_prefect_takes_every_schedule_that_we_take(line: str) -> None:
    """A cron line that loop.toml may hold is read by Prefect's server, too, and comes true."""
    import asyncio

    from prefect.server.schemas.schedules import CronSchedule

    schedule = Schedule(line, "Europe/Berlin")
    dates = CronSchedule(cron=schedule.cron, timezone=schedule.timezone).get_dates(
        n=1, start=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert len(asyncio.run(dates)) == 1
