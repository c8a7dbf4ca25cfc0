"""Which events people are told of, and where. It changes no decision."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from closedloop.use_case.schedule import check_cron

Event = Literal[
    "escalated",
    "waiting",
    "promoted",
    "rejected",
    "rolled_back",
    "moved_outside",
    "records_not_written",
    "labels_overdue",
    "mlflow_away",
    "no_turn",
]
EVERY_EVENT: tuple[Event, ...] = get_args(Event)
WEBHOOK = "webhook"  # the channel with addresses of its own; others are in CLOSEDLOOP_ALERT_URLS
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@dataclass(frozen=True)
class Alerts:
    """Which events are told, to which channels, and when the loop looks for them.

    Without channels nothing is told. The addresses of channels hold secrets: they are in the
    environment.
    """

    channels: tuple[str, ...] = ()
    """Names of channels: `webhook`, and those of `CLOSEDLOOP_ALERT_URLS`."""
    events: tuple[Event, ...] = EVERY_EVENT
    """Events that are told."""
    cron: str = "*/10 * * * *"
    """When to look for events, besides at the end of each flow."""
    no_turn_hours: float | None = None
    """Hours without a turn that are told; without it, two scheduled turns that did not come."""
    away_minutes: float = 10.0
    """Minutes that MLflow or the records are away before it is told."""
    give_up_hours: float = 24.0
    """Hours after which a channel that takes no alert is given up for that alert."""

    def __post_init__(self) -> None:
        for name in self.channels:
            if not NAME.fullmatch(name):
                raise ValueError(
                    "channels must have names of small letters, digits, - and _, "
                    f"got {name[:60]!r}: addresses belong in CLOSEDLOOP_ALERT_URLS"
                )
        if len({*self.channels}) < len(self.channels):
            raise ValueError(f"channels must be named once, got {', '.join(self.channels)}")
        check_cron(self.cron)
        limits = {"no_turn_hours": 0.1, "away_minutes": 0.0, "give_up_hours": 0.1}
        for name, least in limits.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= 100_000:
                raise ValueError(f"{name} must be between {least:g} and 100000, got {value:g}")
