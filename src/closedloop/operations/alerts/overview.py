"""What people were told, and what `doctor` says of the channels; for commands and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from closedloop.errors import UseCaseError
from closedloop.operations.alerts.channels import choose_channels
from closedloop.operations.alerts.look import spare_book
from closedloop.storage.alert_book import AlertBook, Delivery
from closedloop.turn.open import Loop


def list_deliveries(loop: Loop) -> list[Delivery]:
    """Every delivery, oldest first, with those of the time without a database."""
    books = [AlertBook(loop.engine), *filter(None, [spare_book(loop)])]
    found = [each for book in books for each in book.listed(loop.use_case.name)]
    return sorted(found, key=lambda delivery: (delivery.alert.at, delivery.number))


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
