"""The end of a flow: people are told, and nothing that goes wrong with that changes the flow."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from closedloop.operations.alerts import sending
from closedloop.settings import Settings
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from flows import telling as module
from flows.telling import telling
from tests.receivers import Webhook, serving
from tests.unit.operations.alerts.conftest import DECIDED, SECRET, Place, write_loop_toml

LOOP_TOML = write_loop_toml("promoted")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A use case on disk, whose settings are in the environment as for a run of a flow."""
    (tmp_path / "loop.toml").write_text(LOOP_TOML, encoding="utf-8")
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("CLOSEDLOOP_ALERT_WEBHOOK_SECRET", SECRET)
    assert "promoted" in DECIDED
    return Place(tmp_path, settings={"alert_webhook_url": None})


def test_a_flow_tells_at_its_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it decided is told when it returns and when it fails; what it returns or raises is as
    before."""
    use_case, receiver = str(place.folder / "loop.toml"), Webhook()
    monkeypatch.setenv("CLOSEDLOOP_ALERT_WEBHOOK_URL", receiver.address)

    @telling
    def flow(use_case: str, version: int) -> int:
        if version:
            place.promote(version)
        if version == 2:
            raise ValueError("as it was")
        return version

    with serving(receiver):
        assert flow(use_case, 0) == 0  # the first look
        assert flow(use_case=use_case, version=1) == 1
        with pytest.raises(ValueError, match="as it was"):
            flow(use_case, 2)
        assert receiver.keys == ["shop/promoted/1", "shop/promoted/2"]


def test_a_slow_receiver_delays_a_flow_no_longer_than_it_may(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver that never answers costs the seconds that the module states, and no more; a
    loop.toml that cannot be read costs nothing but the alert."""
    monkeypatch.setattr(module, "MOST_SECONDS", 1.0)
    use_case, receiver = str(place.folder / "loop.toml"), Webhook()
    monkeypatch.setenv("CLOSEDLOOP_ALERT_WEBHOOK_URL", receiver.address)
    assert sending.ATTEMPT_SECONDS > 1.0
    receiver.hang = True

    @telling
    def flow(use_case: str) -> str:
        return "done"

    with serving(receiver):
        assert flow(use_case) == "done"
        place.promote(1)
        began = time.monotonic()
        assert flow(use_case) == "done"
        assert time.monotonic() - began < 3.0
        assert len(receiver.bodies) == 1
        assert flow(f"{use_case}.none") == "done"
    assert Journal(open_engine(Settings(home=place.folder).store_url)).history("shop")
