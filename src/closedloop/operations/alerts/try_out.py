"""A test of every channel."""

from __future__ import annotations

from closedloop.operations.alerts.channels import choose_channels
from closedloop.operations.alerts.not_sent import NotSent
from closedloop.operations.alerts.page_link import find_page
from closedloop.operations.alerts.sending import attempt
from closedloop.storage.alert_book import Alert, utc_now
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
            link=find_page(loop),
        )
        try:
            attempt(channel, test)
            answers[channel.name] = ""
        except NotSent as error:
            answers[channel.name] = str(error)
    return answers
