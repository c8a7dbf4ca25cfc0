"""Flows that tell people and keep house, on a real Prefect server and real MLflow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from closedloop.records.archive.folder import Archive
from closedloop.storage.alert_book import utc_now
from tests.answers import describe_answers
from tests.receivers import Webhook, serving

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]

TELLING = {
    "[schedule]": '[alerts]\nchannels = ["webhook"]\n'
    'events = ["escalated", "promoted", "moved_outside", "mlflow_away"]\n\n[schedule]',
}


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    """A receiver that the environment of the flows names."""
    receiver = Webhook()
    monkeypatch.setenv("CLOSEDLOOP_ALERT_WEBHOOK_URL", receiver.address)
    monkeypatch.setenv("CLOSEDLOOP_ALERT_WEBHOOK_SECRET", "0123456789abcdef")
    with serving(receiver):
        yield receiver


@pytest.mark.nightly
def test_a_turn_tells_and_a_look_repeats_nothing(
    make_place: Callable[..., Any],
    turn: Callable[..., list[tuple[str, str]]],
    webhook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A receiver that fails does not fail the turn; the promotion arrives with the end of the next
    flow, and the deployment of alerts and housekeeping tell nothing twice. Housekeeping shows what
    it would delete."""
    from closedloop.operations.alerts.look import look_and_send
    from flows.alert_flow import alert_flow
    from flows.housekeeping_flow import housekeeping_flow
    from tests.flows.test_by_hand_flows import shown

    place = make_place(0, changes=TELLING)
    look_and_send(place.open())  # what comes now is news
    webhook.answer = 500
    assert ("promotion", "promote") in turn(place, "month_000")
    assert len(webhook.bodies) == 1
    promoted = [entry for entry in place.open().journal.history("streamflow") if entry.outcome]
    webhook.answer = 200
    look_and_send(place.open(), clock=lambda: utc_now() + timedelta(minutes=2))
    assert webhook.keys == [f"streamflow/promoted/{promoted[-1].id}"] * 2
    assert json.loads(webhook.bodies[0])["title"] == "streamflow: version 1 is in production"

    turn(place, "month_000")
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(place.settings.home))
    looked = alert_flow(use_case=str(place.path))
    assert looked == {"new": 0, "sent": {"sent": 0, "failed": 0, "given_up": 0}, "problem": ""}
    kept = housekeeping_flow(use_case=str(place.path))
    assert (kept["deleted"], kept["shown"]["found"]["versions"]) == (None, [])
    assert "would delete the model files of versions: none" in shown("housekeeping")
    assert len(webhook.bodies) == 2


def test_housekeeping_archives_closed_days(
    make_place: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where there is an archive; its page says which days, and why."""
    from flows.housekeeping_flow import housekeeping_flow
    from tests.flows.test_by_hand_flows import shown

    place = make_place(0)
    loop = place.open()
    at = datetime(2026, 11, 19, 12, tzinfo=UTC)
    features = {name: [None] for name in loop.use_case.columns}
    loop.records.append([describe_answers("streamflow", 1, features, {"False": [0.5]}, at=at)])
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(place.settings.home))
    monkeypatch.setenv("CLOSEDLOOP_ARCHIVE", str(tmp_path / "archive"))
    housekeeping_flow(use_case=str(place.path))
    assert Archive(str(tmp_path / "archive")).days("streamflow") == (at.date(),)
    assert "wrote 2026-11-19, 1 rows: it had no file" in shown("housekeeping")
