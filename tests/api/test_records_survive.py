"""Every answer is on record: with a full disk, and while the database is away.

For kill -9 see tests/e2e/test_killed_serving.py.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from closedloop.storage import revisions
from closedloop.storage.engine import open_engine
from closedloop.storage.revisions import OURS, Revisions
from closedloop.storage.upgrade import prepare_tables, upgrade_tables
from tests.postgres import Cluster, postgres, postgres_url  # noqa: F401

Service = Any  # tests/api/conftest.py
ROW: dict[str, Any] = {"monthly spend": 20.5, "visits": 3, "plan": "gold", "returning": True}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("a small disk cannot be mounted here: run as root to try what a full one does")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_reported_and_survived(
    make_service: Callable[..., Service], small_disk: Path
) -> None:
    """On a full disk /predict is 503 with the reason and /ready fails; with space again the service
    recovers by itself, and every answer is on record."""
    service = make_service(f"sqlite:///{small_disk / 'records.db'}")
    service.promote(1)
    answered = len(service.predict()["predictions"])
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(bytes(4 * 1024 * 1024))
    refused = None
    for _ in range(200):  # the log of the database has some space left
        answer = service.client.post("/predict", json={"rows": [ROW] * 50})
        if answer.status_code != 200:
            refused = answer
            break
        answered += 50
    assert refused is not None
    assert refused.status_code == 503
    assert "not recorded, so not answered" in refused.json()["detail"]
    assert "full" in refused.json()["detail"]
    ready = service.client.get("/ready")
    assert (ready.status_code, ready.json()["ready"]) == (503, False)
    assert "full" in ready.json()["records"]
    assert service.metric("closedloop_records_writable") == 0
    ballast.unlink()
    wait_until_ready(service)
    assert service.metric("closedloop_records_writable") == 1
    answered += len(service.predict()["predictions"])
    assert service.records.count("shop").predictions == answered


def wait_until_ready(service: Service) -> None:
    waiting = Event()
    for _ in range(600):
        if service.client.get("/ready").status_code == 200:
            return
        waiting.wait(0.05)
    raise AssertionError(service.client.get("/ready").text)


def test_a_stopped_postgresql_fails_readiness_until_it_is_back(
    make_service: Callable[..., Service],
    postgres: Cluster,
    postgres_url: str,
) -> None:
    """While the server is down /ready fails; once it is back the service becomes ready without a
    request."""
    service = make_service(postgres_url)
    service.promote(1)
    service.predict()
    postgres.stop()
    try:
        assert service.client.post("/predict", json=ROW).status_code == 503
        assert service.client.get("/ready").status_code == 503
    finally:
        postgres.start()
    wait_until_ready(service)
    assert service.client.get("/ready").json()["records"] == "writable"


def test_a_service_waits_for_the_upgrade_of_its_database(
    make_service: Callable[..., Service],
    postgres_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a server with older tables nothing is answered, and the error names the command; after the
    command the service answers."""
    engine = open_engine(postgres_url)
    prepare_tables(engine)
    shutil.copytree(OURS.folder, tmp_path / "revisions")
    (tmp_path / "revisions" / "later_nothing.py").write_text(
        f'revision, down_revision = "later", "{OURS.head}"\ndef upgrade(op):\n    pass\n'
    )
    monkeypatch.setattr(
        revisions, "OURS", Revisions(tmp_path / "revisions", (*OURS.names, "later"))
    )
    service = make_service(postgres_url)
    service.promote(1)
    refused = service.client.post("/predict", json=ROW)
    assert refused.status_code == 503
    assert "run: closedloop upgrade" in refused.json()["detail"]
    assert "run: closedloop upgrade" in service.client.get("/ready").json()["records"]
    upgrade_tables(engine)
    wait_until_ready(service)
    assert len(service.predict()["predictions"]) == 1
    engine.dispose()


def test_answers_may_be_preferred_over_records(
    make_service: Callable[..., Service], tmp_path: Path
) -> None:
    """With `answer_without_records`, a lost database costs the record but not the answer: it is
    counted, and /ready stays 200 and reports it."""
    service = make_service(answer_without_records=True)
    service.promote(1)
    service.predict()
    assert service.metric("closedloop_unrecorded_answers_total") == 0
    service.engine.dispose()
    shutil.move(tmp_path / "store", tmp_path / "away")
    assert len(service.predict(ROW, ROW)["predictions"]) == 2
    assert service.metric("closedloop_unrecorded_answers_total") == 2
    ready = service.client.get("/ready")
    assert ready.status_code == 200
    assert "not writable" in ready.json()["records"]
    shutil.move(tmp_path / "away", tmp_path / "store")
    wait_until_ready(service)
    service.predict()
    assert service.metric("closedloop_unrecorded_answers_total") == 2
