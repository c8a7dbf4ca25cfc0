"""Texts from outside are shown and never obeyed, and nothing secret is told."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from closedloop.errors import UseCaseError
from closedloop.operations.alerts.channels import read_channels
from closedloop.operations.alerts.not_sent import hide
from closedloop.operations.alerts.overview import describe_alerts
from closedloop.operations.alerts.safe_text import MOST_TEXT, MOST_TITLE, cut, defuse, one_line
from closedloop.operations.alerts.try_out import try_channels
from closedloop.storage.alert_book import AlertBook
from tests.receivers import Mailbox, Webhook
from tests.unit.operations.alerts.conftest import SECRET, Place

WINDOW = "2026-01\r\nBcc: everybody@example.org\r\n\r\n<!channel> @here </script>\x1b[2J\udcff"
REASON = "see https://evil.example.org <@U1> [click](http://x.org)\u202e &lt; " + "long " * 5000


@pytest.mark.slow
def test_a_hostile_window_is_a_line_of_text(
    place: Place, webhook: Webhook, mailbox: Mailbox
) -> None:
    """A window's name and a reason cannot add a header to a mail, mention a channel, link
    anywhere, act on a terminal, or be longer than a message should be."""
    place.escalate(WINDOW.replace("\udcff", ""), REASON)
    place.look()
    (mail,), (raw,) = mailbox.messages, mailbox.raw
    assert mail["Bcc"] is None
    assert "\n" not in str(mail["Subject"])
    assert len(str(mail["Subject"])) < 2 * MOST_TITLE
    plain = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    html = mail.get_body(("html",)).get_content()  # type: ignore[union-attr]
    for text in (plain, html, str(mail["Subject"])):
        assert not any(bad in text for bad in ("<!channel>", "@here", "<@U1>", "</script>"))
        assert not any(bad in text for bad in ("\x1b", "\u202e", "evil.example.org"))
    assert "&lt;" in html
    assert "<script" not in html
    assert "https://loop.example.org/decisions/1" in plain
    assert len(raw) < 40_000
    (body,) = webhook.bodies
    alert = json.loads(body)
    assert alert["title"].startswith("shop: a person is called for 2026-01")
    assert len(alert["why"]) == MOST_TEXT
    assert "\n" not in alert["title"]


def test_text_is_one_line_without_commands() -> None:
    """Control characters, turns of the direction of writing, halves of characters and new lines
    of any kind are gone or shown as their escapes."""
    line = one_line(WINDOW + "\u2028second\x85third")
    assert line.isprintable()
    assert (cut("abc", 3), cut("abcd", 3)) == ("abc", "ab…")


def test_defused_text_reads_the_same() -> None:
    """Without the word joiner the text is unchanged, and window names and numbers are untouched."""
    text = "month_004 lost 0.0123 <!here> @all https://a.org a.b [x](y)"
    assert defuse(text).replace("\u2060", "") == text
    assert defuse("month_004 lost 0.0123; records_2026-11-20") == (
        "month_004 lost 0.0123; records_2026-11-20"
    )


BAD = {
    "no address": ({}, "it has no address here: set CLOSEDLOOP_ALERT_WEBHOOK_URL"),
    "no secret": (
        {"alert_webhook_url": "https://h.example.org/t0psecret", "alert_webhook_secret": "short"},
        "set CLOSEDLOOP_ALERT_WEBHOOK_SECRET, of at least 16 characters",
    ),
    "a file": (
        {"alert_webhook_url": "file:///etc/passwd"},
        "CLOSEDLOOP_ALERT_WEBHOOK_URL must be an address such as https://host/path, no login",
    ),
    "two lines": (
        {"alert_webhook_url": "https://h.example.org/t0psecret\r\nX-Other: 1"},
        "CLOSEDLOOP_ALERT_WEBHOOK_URL must be an address such as https://host/path, no login",
    ),
    "a login": (
        {"alert_webhook_url": "https://me:t0psecret@h.example.org/"},
        "CLOSEDLOOP_ALERT_WEBHOOK_URL must be an address such as https://host/path, no login",
    ),
}


@pytest.mark.parametrize("given", BAD.values(), ids=BAD.keys())
def test_a_webhook_that_cannot_be_used(tmp_path: Path, given: tuple[dict[str, str], str]) -> None:
    """What is wrong with its settings is said by `doctor` and by a test, without the address."""
    settings, said = given
    place = Place(tmp_path, channels=("webhook",), settings=settings)
    assert try_channels(place.open()) == {"webhook": said}
    with pytest.raises(UseCaseError, match="wanted an address for every channel") as error:
        describe_alerts(place.open())
    assert said in str(error.value)
    assert not any(bad in str(error.value) for bad in ("t0psecret", "passwd", "short"))


@pytest.mark.slow
def test_addresses_are_never_shown(
    place: Place, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    """An address that Apprise does not know, one that nobody answers and one that is broken: no
    text and no log has a piece of it."""
    caplog.set_level(logging.DEBUG)
    place.settings = {
        "alert_urls": "bad=slack://t0psecretT/t0psecretB nowhere=unknown://t0psecret/x "
        "gone=jsons://me:t0psecret@127.0.0.1:9/t0psecret?+X-T=t0psecret ops=x://y ops=z://y"
    }
    place.channels = ("bad", "nowhere", "gone", "ops", "webhook")
    place.webhook = "http://127.0.0.1:9/t0psecret"
    place.promote(1)
    place.look()
    said = [*try_channels(place.open()).values(), repr(read_channels(place.open().settings))]
    said += [each.last_error for each in AlertBook(place.open().engine).listed("shop")]
    said += [repr(place.open().settings), caplog.text]
    assert all(try_channels(place.open()).values())
    for text in said:
        assert not any(secret in text for secret in ("t0psecret", SECRET)), text


def test_pieces_of_an_address_are_hidden() -> None:
    """Encoded or not, whole or in part; words that are no secret stay."""
    address = "https://hooks.example.org/T0K%20EN/second?key=value123"
    assert hide("it said T0K EN and value123 and so on", address) == "it said ... and ... and so on"


@pytest.mark.slow
def test_a_test_is_sent_to_every_channel(place: Place, webhook: Webhook, mailbox: Mailbox) -> None:
    """`closedloop alert --test` shows which channel works; it is no alert that is kept."""
    assert try_channels(place.open()) == {"webhook": "", "ops": ""}
    assert json.loads(webhook.bodies[0])["event"] == "test"
    assert str(mailbox.messages[0]["Subject"]) == "shop: a test"
    assert AlertBook(place.open().engine).listed("shop") == ()
    assert describe_alerts(place.open()).startswith("webhook (http://127.0.0.1), ops (mailto ")
    webhook.answer = 403
    assert try_channels(place.open()) == {"webhook": "it answered 403", "ops": ""}
