"""The webhook: a signed POST of JSON.

`X-Closedloop-Signature` is `sha256=` and the HMAC-SHA256 of the timestamp, a dot and the body,
under the secret that both sides know. A receiver refuses old timestamps, and drops a `key` that it
has seen. A redirect is not followed: it would take the alert elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
import time
from dataclasses import asdict
from http.client import HTTPException
from urllib.error import HTTPError

from closedloop.operations.alerts.not_sent import NotSent, hide
from closedloop.registry.bounded_http import open_bounded
from closedloop.storage.alert_book import Alert

LEAST_SECRET = 16
SECONDS = 10.0


def send_to_webhook(address: str, secret: str, alert: Alert, *, seconds: float = SECONDS) -> None:
    """Send an alert; raises NotSent unless the answer is 2xx within `seconds`."""
    body = json.dumps({**asdict(alert), "at": alert.at.isoformat(timespec="seconds")}).encode()
    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "closedloop",
        "X-Closedloop-Timestamp": timestamp,
        "X-Closedloop-Signature": sign(secret, timestamp, body),
    }
    try:
        trusted = ssl.create_default_context() if address.startswith("https:") else None
        with open_bounded(address, headers, seconds, body=body, certificates=trusted):
            return
    except HTTPError as error:
        raise NotSent(f"it answered {error.code}") from None
    except (OSError, HTTPException, ValueError) as error:
        said = hide(str(error), address, secret) or type(error).__name__
        raise NotSent(f"it did not answer: {said}") from None


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The signature of a body that is sent at a time."""
    signed = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"sha256={signed.hexdigest()}"
