"""`closedloop forget` beside a service that goes on answering, also the person who is forgotten."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest

from tests.e2e.served_shop import ROW, Served, Shop, serving

pytestmark = [pytest.mark.slow, pytest.mark.nightly]
ANNA, BEN = "anna@example.org", "ben@example.org"


@contextmanager
def asking(served: Served, key: str, said: list[Any]) -> Iterator[None]:
    """Somebody who asks some dozens of times a second."""
    stop = Event()

    def ask() -> None:
        while not stop.wait(0.02):
            said.append(served.ask("/predict", {"rows": [{**ROW, "customer": key}]}))

    thread = Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def forget(shop: Shop, key: str) -> dict[str, Any]:
    """The command in a process of its own, and what it says in JSON."""
    command = [sys.executable, "-m", "closedloop", "forget", "--key", "-", "--yes", "--json"]
    done = subprocess.run(
        [*command, "--use-case", str(shop.folder / "loop.toml")],
        env={"CLOSEDLOOP_HOME": str(shop.folder / "home"), "PYTHONPATH": ":".join(sys.path)},
        input=f"{key}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_service_answers_while_somebody_is_forgotten(shop: Shop) -> None:
    """Two workers answer everybody all the time. When the person is quiet, a second time finds the
    rest; then no byte of the key is in the database, and the other's rows are all there."""
    with serving(shop) as served:
        annas, bens = list[Any](), list[Any]()
        with asking(served, BEN, bens):
            with asking(served, ANNA, annas):
                while len(annas) < 50:
                    bens_now = len(bens)
                first = forget(shop, ANNA)
            assert first["rows"] >= 50
            assert len(bens) > bens_now
            second = forget(shop, ANNA)
        assert all(answer["version"] == 1 for answer in (*annas, *bens))
        files = list((shop.folder / "home").glob("closedloop.db*"))
        assert not [file for file in files if ANNA.encode() in file.read_bytes()]
        labels = [{"id": answer["predictions"][0]["id"], "label": "True"} for answer in bens[-50:]]
        assert served.ask("/labels", {"labels": labels}) == {"recorded": 50}
        label = {"labels": [{"key": ANNA, "label": "True"}]}
        assert "none for key" in served.ask("/labels", label)["detail"]
    assert second["forgotten_before_by"] == [first["decision"]]
