"""Sends what is due: each delivery is taken, sent, and noted.

A channel that fails is left alone until the next look. A failed delivery is tried again after a
minute, then after two, four and so on up to an hour, until it is given up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from threading import Thread
from typing import Any

from closedloop.operations.alerts.channels import Channel
from closedloop.operations.alerts.not_sent import NotSent
from closedloop.storage.alert_book import Alert, AlertBook, Delivery

ATTEMPT_SECONDS = 15.0  # more than what a channel gives itself
KEEP_OFF = timedelta(minutes=2)  # more than an attempt takes
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)


@dataclass(frozen=True)
class Sent:
    """How many deliveries were sent, failed and were given up."""

    sent: int = 0
    failed: int = 0
    given_up: int = 0

    def __add__(self, other: Sent) -> Sent:
        return Sent(
            self.sent + other.sent,
            self.failed + other.failed,
            self.given_up + other.given_up,
        )


def send_due(
    book: AlertBook,
    use_case: str,
    channels: Sequence[Channel],
    *,
    give_up: timedelta,
    seconds: float,
) -> Sent:
    """Send what is due; begins nothing after `seconds`.

    What a channel cannot take here, because its address is missing, waits for whoever has it.
    """
    usable = {channel.name: channel for channel in channels if not channel.fault}
    ends, failing, total = time.monotonic() + seconds, set[str](), Sent()
    for delivery in book.due(use_case):
        is_late = book.now() - delivery.alert.at > give_up
        if delivery.channel not in usable:
            if is_late:
                book.give_up(delivery, delivery.last_error or "nobody had its address")
                total += Sent(given_up=1)
            continue
        if delivery.channel in failing or time.monotonic() > ends:
            continue
        if not book.take(delivery, KEEP_OFF):
            continue
        done = _send(book, delivery, usable, is_late)
        total += done
        if not done.sent:
            failing.add(delivery.channel)
    return total


def _send(
    book: AlertBook, delivery: Delivery, usable: Mapping[str, Channel], is_late: bool
) -> Sent:
    try:
        attempt(usable[delivery.channel], delivery.alert)
    except NotSent as error:
        if is_late:
            book.give_up(delivery, str(error))
            return Sent(failed=1, given_up=1)
        pause = min(_FIRST_PAUSE * 2 ** min(delivery.attempts, 10), _LONGEST_PAUSE)
        book.note_failed(delivery, str(error), book.now() + pause)
        return Sent(failed=1)
    book.note_sent(delivery)
    return Sent(sent=1)


def attempt(channel: Channel, alert: Alert) -> None:
    """Send an alert once; raises NotSent after ATTEMPT_SECONDS, whatever the channel does."""
    if channel.fault:
        raise NotSent(channel.fault)
    try:
        within(ATTEMPT_SECONDS, lambda: channel.send(alert))
    except TimeoutError:
        raise NotSent(f"it did not answer in {ATTEMPT_SECONDS:.0f} seconds") from None


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """What the call returns or raises; raises TimeoutError when it takes longer.

    Then it goes on in a thread that no process waits for.
    """
    came: list[tuple[bool, Any]] = []

    def run() -> None:
        try:
            came.append((True, call()))
        except BaseException as error:  # it is raised again, where it is waited for
            came.append((False, error))

    thread = Thread(target=run, name="closedloop-alerts", daemon=True)
    thread.start()
    thread.join(seconds)
    if not came:
        raise TimeoutError(f"it took longer than {seconds:.0f} seconds")
    succeeded, value = came[0]
    if not succeeded:
        raise value
    return value
