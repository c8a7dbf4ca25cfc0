"""A loop with a real journal and real records, receivers that answer, and a clock to turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from closedloop.decisions.checks import Action, Decision, Kind, Role, make_check
from closedloop.operations.alerts.look import Looked, look_and_send
from closedloop.records.store import Records
from closedloop.settings import Settings
from closedloop.storage.details import PromotionDetails
from closedloop.storage.engine import open_engine
from closedloop.storage.entry import Entry
from closedloop.storage.journal import Journal
from closedloop.turn.open import Loop
from closedloop.use_case.loop_toml import parse_use_case
from tests.receivers import Mailbox, Webhook, serving

SECRET = "0123456789abcdef-of-the-webhook"
# The registry of these loops is empty, so the aliases are not where the journal puts them.
DECIDED = ("escalated", "waiting", "promoted", "rejected", "rolled_back")
START = datetime(2026, 11, 20, 12, tzinfo=UTC)


def write_loop_toml(event: str) -> str:
    """A use case that tells its webhook of one event."""
    return f"""
name = "shop"
[target]
column = "left"
classes = ["no", "yes"]
[source]
windows = "*.csv"
[columns.spend]
type = "numeric"
[alerts]
channels = ["webhook"]
events = ["{event}"]
"""


@dataclass
class Clock:
    """The time, which the test turns on."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def turn(self, **ahead: float) -> None:
        self.now += timedelta(**ahead)


@dataclass
class Place:
    """A loop in a folder that is opened anew for each look, as each run of a flow does."""

    folder: Path
    channels: tuple[str, ...] = ("webhook", "ops")
    webhook: str = ""
    mails: str = ""
    events: tuple[str, ...] = DECIDED
    alerts: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)

    def open(self) -> Loop:
        content = {
            "name": "shop",
            "target": {"column": "left", "classes": ["no", "yes"]},
            "columns": {"spend": {"type": "numeric"}},
            "source": {"query": "select 1", "windows": "*.csv"},
            "alerts": {"channels": list(self.channels), "events": list(self.events), **self.alerts},
            "schedule": self.schedule,
            "labels": self.labels,
        }
        settings = Settings(
            **{
                "home": self.folder,
                "alert_webhook_url": self.webhook or None,
                "alert_webhook_secret": SECRET,
                "alert_urls": f"ops={self.mails}" if self.mails else None,
                "page_url": "https://loop.example.org/",
                **self.settings,
            }
        )
        engine = open_engine(settings.store_url)
        nothing: Any = None
        return Loop(
            parse_use_case(content, self.folder / "loop.toml"),
            settings,
            nothing,
            Records(engine, now=self.clock),
            Journal(engine, now=self.clock),
            nothing,
            engine,
        )

    def look(self) -> Looked:
        return look_and_send(self.open(), clock=self.clock)

    def promote(self, version: int, *, instead_of: int | None = None) -> Entry:
        """Write down that a version is in production, carried out."""
        check = make_check("gain", True, Role.GATE, "above 0", "0.02", headline=True)
        decision = Decision(Kind.PROMOTION, Action.PROMOTE, "2026-01", (check,), version)
        journal = self.open().journal
        details = PromotionDetails(instead_of)
        entry = journal.write(f"promote/{version}", "shop", decision, details=details)
        journal.carried_out(entry)
        return entry

    def escalate(self, window: str, reason: str = "too few rows") -> Entry:
        """Write down that a person is called."""
        check = make_check("contract", False, Role.GUARD, "rows", "none", summary=reason)
        decision = Decision(Kind.RETRAINING, Action.ESCALATE, window, (check,))
        journal = self.open().journal
        entry = journal.write(f"escalate/{window[:80]}", "shop", decision)
        journal.carried_out(entry)
        return entry


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """A webhook that answers."""
    receiver = Webhook()
    with serving(receiver):
        yield receiver


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A mail server that answers."""
    receiver = Mailbox()
    with serving(receiver):
        yield receiver


@pytest.fixture
def place(tmp_path: Path, webhook: Webhook, mailbox: Mailbox) -> Place:
    """A loop that has looked once, so that what comes now is news."""
    made = Place(tmp_path, webhook=webhook.address, mails=mailbox.address)
    made.look()
    return made
