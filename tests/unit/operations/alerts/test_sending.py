"""Alerts arrive once at a real HTTP and a real SMTP receiver, whatever dies or fails in between."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import time
from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest

from closedloop.operations.alerts import sending
from closedloop.operations.alerts.sending import KEEP_OFF, Sent
from closedloop.storage.alert_book import AlertBook
from tests.receivers import Mailbox, Webhook
from tests.unit.operations.alerts.conftest import SECRET, START, Place

pytestmark = pytest.mark.slow  # a mail takes half a second to be written


def die_in_a_child(
    place: Place, monkeypatch: pytest.MonkeyPatch, before: Callable[..., bool]
) -> None:
    """Look in a process that is killed before the attempt that `before` is true of."""
    original = sending.attempt

    def attempt(*given: Any) -> None:
        if before(*given):
            os.kill(os.getpid(), signal.SIGKILL)
        original(*given)

    child = os.fork()
    if not child:
        monkeypatch.setattr(sending, "attempt", attempt)
        try:
            place.look()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_a_restart_between_writing_and_sending(
    place: Place, webhook: Webhook, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed after it wrote an alert and before it sent it loses nothing: the
    next look sends it, to each receiver once."""
    place.promote(1)
    die_in_a_child(place, monkeypatch, lambda *_: True)
    assert (webhook.bodies, mailbox.messages) == ([], [])
    place.clock.now += KEEP_OFF
    assert place.look().sent == Sent(sent=2)
    place.clock.turn(hours=3)
    assert place.look() == place.look()
    assert webhook.keys == ["shop/promoted/1"]
    assert len(mailbox.messages) == 1


def test_a_restart_between_two_channels(
    place: Place, webhook: Webhook, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the first channel and before the second: the first does not get it again."""
    place.promote(1)
    die_in_a_child(place, monkeypatch, lambda channel, _: channel.name == "webhook")
    assert (len(webhook.bodies), len(mailbox.messages)) == (0, 1)
    assert place.look().sent == Sent()  # whoever took it may still be at it
    place.clock.now += KEEP_OFF
    assert place.look().sent == Sent(sent=1)
    assert (webhook.keys, len(mailbox.messages)) == (["shop/promoted/1"], 1)


def test_a_restart_between_sending_and_noting(
    place: Place, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the receiver took it, it is sent again, under the same key: that is all a
    receiver needs to drop it."""
    place.channels = ("webhook",)
    place.promote(1)
    child = os.fork()
    if not child:
        monkeypatch.setattr(AlertBook, "note_sent", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        place.look()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    place.clock.now += KEEP_OFF
    assert place.look().sent == Sent(sent=1)
    assert webhook.keys == ["shop/promoted/1"] * 2


def test_two_looks_at_once_send_once(place: Place, webhook: Webhook) -> None:
    """Of several senders that find the same alert at the same moment, one sends it."""
    place.channels = ("webhook",)
    for version in range(1, 6):
        place.promote(version)
    together, found = Barrier(4), list[int]()

    def look() -> None:
        together.wait()
        found.append(place.look().new)

    threads = [Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(found) == 5
    assert sorted(webhook.keys) == [f"shop/promoted/{number}" for number in range(1, 6)]


def test_what_a_webhook_gets_is_signed(place: Place, webhook: Webhook) -> None:
    """The receiver can tell from the secret, the timestamp and the body that it was us, and reads
    what happened, why, what to do, and where to look."""
    place.channels = ("webhook",)
    place.promote(2, instead_of=1)
    place.look()
    (body,), (headers,) = webhook.bodies, webhook.headers
    signed = headers["X-Closedloop-Timestamp"].encode() + b"." + body
    wanted = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["X-Closedloop-Signature"] == f"sha256={wanted}"
    assert abs(time.time() - int(headers["X-Closedloop-Timestamp"])) < 60
    alert = json.loads(body)
    assert alert["title"] == "shop: version 2 is in production"
    assert alert["what"].startswith("Decision 1 put version 2 into production instead of version 1")
    assert alert["why"] == "all 1 gates hold; gain: 0.02"
    assert "closedloop why 1" in alert["then"]
    assert alert["link"] == "https://loop.example.org/decisions/1"
    assert SECRET not in body.decode()


@pytest.mark.parametrize("fault", ["500", "302", "reset", "hang", "gone"])
def test_a_broken_receiver_delays_nobody_else(
    place: Place, webhook: Webhook, mailbox: Mailbox, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver that answers 500, redirects, ends the connection, hangs or is not there: the other
    channel gets the alert, nothing leads elsewhere, the reason is kept without any secret, and the
    alert arrives once when the receiver is well again."""
    monkeypatch.setattr(sending, "ATTEMPT_SECONDS", 1.0)
    said = {
        "500": "it answered 500",
        "302": "it answered 302",
        "reset": "it did not answer: ",
        "hang": "it did not answer in 1 seconds",
        "gone": "it did not answer: ",
    }[fault]
    place.promote(1)
    if fault.isdigit():
        webhook.answer = int(fault)
        webhook.location = webhook.address if fault == "302" else ""
    webhook.reset, webhook.hang = fault == "reset", fault == "hang"
    if fault == "gone":
        place.webhook = "http://127.0.0.1:1/hook/s3cretpath"
    assert place.look().sent == Sent(sent=1, failed=1)
    assert len(mailbox.messages) == 1
    assert len(webhook.bodies) == (0 if fault == "gone" else 1)
    (waits,) = AlertBook(place.open().engine).waiting("shop")
    assert waits.last_error.startswith(said)
    assert "s3cretpath" not in waits.last_error

    place.look()  # too early for another attempt
    assert len(webhook.bodies) == (0 if fault == "gone" else 1)
    webhook.answer, webhook.location, webhook.reset, webhook.hang = 200, "", False, False
    place.webhook = webhook.address
    place.clock.turn(minutes=1)
    assert place.look().sent == Sent(sent=1)
    assert set(webhook.keys) == {"shop/promoted/1"}
    assert len(mailbox.messages) == 1


def test_pauses_grow_until_it_is_given_up(place: Place, webhook: Webhook) -> None:
    """Attempts come after 1, 2, 4, ... minutes, then hourly, and end after give_up_hours."""
    place.channels, place.alerts = ("webhook",), {"give_up_hours": 5.0}
    webhook.answer = 503
    place.promote(1)
    tried, given_up = list[float](), 0
    while not given_up:
        tried.append((place.clock.now - START).total_seconds() / 60)
        given_up = place.look().sent.given_up
        assert len(webhook.bodies) == len(tried)
        (delivery,) = AlertBook(place.open().engine).listed("shop")
        place.clock.now = delivery.next_at
    assert tried == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303]
    assert (delivery.state, delivery.last_error) == ("given up", "it answered 503")


def test_an_address_that_is_missing_here_is_nobodys_failure(place: Place, webhook: Webhook) -> None:
    """A process without the address leaves the alert to one that has it; given up only in the
    end."""
    place.channels, place.webhook = ("webhook",), ""
    place.promote(1)
    assert place.look().sent == Sent()
    place.webhook = webhook.address
    assert place.look().sent == Sent(sent=1)
    place.webhook = ""
    place.promote(2)
    place.look()
    place.clock.turn(hours=25)
    assert place.look().sent == Sent(given_up=1)
