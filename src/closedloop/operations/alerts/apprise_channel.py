"""Mail, Slack, Teams and all the others that Apprise knows an address for. Apprise's only door."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from closedloop.operations.alerts.not_sent import NotSent, hide
from closedloop.operations.alerts.safe_text import defuse
from closedloop.storage.alert_book import Alert


def check_address(address: str) -> None:
    """Raise NotSent when Apprise knows no such address. Nothing is sent."""
    _open(address)


def send_by_apprise(address: str, alert: Alert) -> None:
    """Send an alert as plain text; raises NotSent when the receiver did not take it."""
    from apprise import NotifyFormat, NotifyType

    service = _open(address)
    sent = False
    with _kept_log() as log:
        try:
            sent = bool(
                service.notify(
                    title=defuse(alert.title),
                    body=write_body(alert),
                    body_format=NotifyFormat.TEXT,
                    notify_type=NotifyType.INFO if alert.event in _GOOD else NotifyType.WARNING,
                )
            )
        except Exception as error:  # a plugin may raise anything
            log.append(f"{type(error).__name__}: {error}")
    if not sent:
        said = hide("; ".join(log[-3:]), address)
        raise NotSent(f"it was not taken: {said or 'no reason is given'}")


_GOOD = ("promoted", "rejected", "over", "test")


def write_body(alert: Alert) -> str:
    """An alert as a message of a few lines."""
    parts = [defuse(alert.what)]
    parts += [f"Why: {defuse(alert.why)}"] if alert.why else []
    parts += [f"What to do: {defuse(alert.then)}"] if alert.then else []
    parts += [alert.link] if alert.link else []
    return "\n\n".join(parts)


def _open(address: str) -> Any:
    """The service behind an address, which keeps nothing on disk and follows no redirect."""
    from apprise import Apprise, AppriseAsset, PersistentStoreMode

    asset = AppriseAsset(
        app_id="closedloop",
        app_desc="closedloop",
        async_mode=False,
        http_redirects=False,
        interpret_emojis=False,
        interpret_escapes=False,
        plugin_paths=[],
        storage_mode=PersistentStoreMode.MEMORY,
    )
    service = Apprise(asset=asset)
    with _kept_log() as log:
        known = service.add(address)
    if not known:
        raise NotSent(f"Apprise knows no such address: {hide('; '.join(log[-1:]), address)}")
    return service


@contextmanager
def _kept_log() -> Iterator[list[str]]:
    """What Apprise logs in the block, and nowhere else: it may name an address."""
    kept = list[str]()

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(record.getMessage())

    keep = Keep(level=logging.WARNING)
    # urllib3, which Apprise asks with, names the path of each request.
    loggers = [logging.getLogger(name) for name in ("apprise", "urllib3")]
    before = [(logger.propagate, logger.level) for logger in loggers]
    for logger in loggers:
        logger.addHandler(keep)
        logger.propagate, logger.level = False, logging.WARNING
    try:
        yield kept
    finally:
        for logger, (propagate, level) in zip(loggers, before, strict=True):
            logger.removeHandler(keep)
            logger.propagate, logger.level = propagate, level
