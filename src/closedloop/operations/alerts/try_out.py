"""A test of every channel, and what `doctor` says of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from closedloop.errors import UseCaseError
from closedloop.operations.alerts.channels import choose_channels
from closedloop.operations.alerts.not_sent import NotSent
from closedloop.operations.alerts.sending import attempt
from closedloop.storage.alert_book import Alert, AlertBook, Delivery, utc_now
from closedloop.turn.open import Loop


def try_channels(loop: Loop) -> dict[str, str]:
    """Send a test to every chosen channel; returns its error by name, empty where there was none.

    It is kept nowhere.
    """
    name, answers = loop.use_case.name, dict[str, str]()
    for channel in choose_channels(loop.settings, loop.use_case.alerts.channels):
        now = utc_now()
        test = Alert(
            key=f"{name}/test/{now:%Y%m%dT%H%M%SZ}",
            use_case=name,
            event="test",
            title=f"{name}: a test",
            what="This is a test of the alerts of closedloop. Nothing has happened.",
            why="Somebody ran closedloop alert --test.",
            then="Nothing.",
            at=now,
            link=(loop.settings.page_url or "").rstrip("/"),
        )
        try:
            attempt(channel, test)
            answers[channel.name] = ""
        except NotSent as error:
            answers[channel.name] = str(error)
    return answers


def describe_alerts(loop: Loop) -> str:
    """The chosen channels, as much of their addresses as may be shown, and what waits.

    Raises UseCaseError for a channel that cannot be used, and for alerts that nobody got.
    """
    chosen = choose_channels(loop.settings, loop.use_case.alerts.channels)
    if not chosen:
        return "nobody is told: no channels under [alerts]"
    listed = AlertBook(loop.engine).listed(loop.use_case.name)
    if faults := [f"{channel.name}: {channel.fault}" for channel in chosen if channel.fault]:
        raise UseCaseError(
            where="[alerts]",
            wanted="an address for every channel",
            got="; ".join(faults),
            then="set it in the environment or .env, and try: closedloop alert --test",
        )
    lost = _find_lost(listed)
    if lost:
        last = lost[-1]
        raise UseCaseError(
            where="[alerts]",
            wanted="alerts that arrive",
            got=f"{len(lost)} given up; the last, to {last.channel}: {last.last_error}",
            then="correct the channel, and try: closedloop alert --test",
        )
    waiting = sum(delivery.state == "waits" for delivery in listed)
    places = ", ".join(f"{channel.name} ({channel.place})" for channel in chosen)
    return f"{places}; {len(listed) - waiting} sent, {waiting} wait"


def _find_lost(listed: Sequence[Delivery]) -> list[Delivery]:
    """What was given up, and the channel has taken nothing since."""
    taken: dict[str, datetime] = {}
    for delivery in listed:
        if delivery.sent_at is not None:
            before = taken.get(delivery.channel, delivery.sent_at)
            taken[delivery.channel] = max(before, delivery.sent_at)
    return [
        delivery
        for delivery in listed
        if delivery.given_up_at is not None
        and delivery.given_up_at > taken.get(delivery.channel, delivery.alert.at)
    ]
