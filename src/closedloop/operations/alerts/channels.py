"""Where alerts go: a webhook, and whatever Apprise has an address for (mail, Slack, Teams, ...).

Addresses hold secrets. They come from the environment or .env, and no text of ours shows them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from closedloop.operations.alerts.apprise_channel import check_address, send_by_apprise
from closedloop.operations.alerts.not_sent import NotSent
from closedloop.operations.alerts.webhook import LEAST_SECRET, send_to_webhook
from closedloop.settings import Settings
from closedloop.storage.alert_book import Alert
from closedloop.use_case.alerts import NAME, WEBHOOK

_NAMED = re.compile(r"([a-z0-9_-]+)=([A-Za-z0-9+.-]+://.+)")


@dataclass(frozen=True)
class Channel:
    """A channel by its name; `place` is as much of its address as may be shown.

    `send` raises NotSent. A channel with a `fault` cannot be used.
    """

    name: str
    place: str
    send: Callable[[Alert], None] = field(repr=False, default=lambda _: None)
    fault: str = ""


def read_channels(settings: Settings) -> Mapping[str, Channel]:
    """Every channel that the settings hold an address of, by name."""
    found = {}
    if settings.alert_webhook_url is not None:
        found[WEBHOOK] = _webhook(settings)
    given = settings.alert_urls.get_secret_value().split() if settings.alert_urls else []
    for number, word in enumerate(given, 1):
        channel = _apprise(word, number, found)
        found[channel.name] = channel
    return found


def choose_channels(settings: Settings, names: tuple[str, ...]) -> list[Channel]:
    """The channels of these names; one without an address has that as its fault."""
    found = read_channels(settings)
    return [found.get(name) or Channel(name, "nowhere", fault=_no_address(name)) for name in names]


def _no_address(name: str) -> str:
    wanted = (
        "CLOSEDLOOP_ALERT_WEBHOOK_URL"
        if name == WEBHOOK
        else f"{name}=URL in CLOSEDLOOP_ALERT_URLS"
    )
    return f"it has no address here: set {wanted}"


def _webhook(settings: Settings) -> Channel:
    assert settings.alert_webhook_url is not None
    address = settings.alert_webhook_url.get_secret_value()
    secret = (
        settings.alert_webhook_secret.get_secret_value() if settings.alert_webhook_secret else ""
    )
    try:
        parts = urlsplit(address)
        place, valid = (
            f"{parts.scheme}://{parts.hostname}",
            bool(parts.hostname and parts.port != 0),
        )
        valid &= parts.scheme in ("http", "https") and "@" not in parts.netloc
        valid &= address.isprintable() and " " not in address
    except ValueError:
        place, valid = "an address that is none", False
    if not valid:
        fault = (
            "CLOSEDLOOP_ALERT_WEBHOOK_URL must be an address such as https://host/path, no login"
        )
        return Channel(WEBHOOK, "an address that is none", fault=fault)
    if len(secret) < LEAST_SECRET:
        fault = f"set CLOSEDLOOP_ALERT_WEBHOOK_SECRET, of at least {LEAST_SECRET} characters"
        return Channel(WEBHOOK, place, fault=fault)
    return Channel(WEBHOOK, place, lambda alert: send_to_webhook(address, secret, alert))


def _apprise(word: str, number: int, taken: Mapping[str, Channel]) -> Channel:
    """The channel of one word of CLOSEDLOOP_ALERT_URLS: NAME=URL, or a URL alone."""
    named = _NAMED.fullmatch(word)
    address = named[2] if named else word
    scheme = re.sub(r"[^a-z0-9]", "", address.partition("://")[0].lower())[:20] or "unknown"
    name = named[1] if named else scheme
    place = f"{scheme} (entry {number} of CLOSEDLOOP_ALERT_URLS)"
    if name in taken or not NAME.fullmatch(name) or name == WEBHOOK:
        fault = f"the name of entry {number} of CLOSEDLOOP_ALERT_URLS is taken or none: NAME=URL"
        return Channel(f"entry-{number}", place, fault=fault)
    try:
        check_address(address)
    except NotSent as error:
        return Channel(name, place, fault=str(error))
    return Channel(name, place, lambda alert: send_by_apprise(address, alert))
