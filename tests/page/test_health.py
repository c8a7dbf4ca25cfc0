"""How the installation is, on the page."""

from __future__ import annotations

import asyncio
import sys

import pytest

from api.page.checkup import Checkup
from api.page.health import Checkups
from closedloop.operations.api_keys import Role
from closedloop.storage.alert_book import Alert, AlertBook
from tests.page.conftest import Place


def test_health_names_keys_and_records(place: Place) -> None:
    """Names and roles of the keys, never the key or its hash; what is on record and what is open,
    each in a sentence, on an installation that is still empty."""
    visitor = place.logged_in(Role.VIEWER, "anna")
    secret = place.add_key("shop", Role.CLIENT)
    page = visitor.get("/health").text
    for words in ("anna", "viewer", "shop", "client", "0 answered rows", "every decision was"):
        assert words in page
    assert secret not in page
    assert place.keys_file.read_text().split('"sha256": "')[1][:64] not in page


def test_alerts_are_listed_as_text(place: Place) -> None:
    """The newest first, with channel, state and what went wrong; markup in a title is shown."""
    book = AlertBook(place.loop.engine)
    alert = Alert(
        "key", "shop", "promoted", "<script>x</script>", "what", "why", "look", book.now()
    )
    book.write(alert, ["webhook"])
    [delivery] = book.listed("shop")
    book.note_failed(delivery, "no answer from the receiver", book.now())
    page = place.visitor().get("/health").text
    for words in ("&lt;script&gt;x", "webhook", "waits: no answer from the receiver", "look"):
        assert words in page
    assert "<script" not in page


def say(text: str, **options: float) -> Checkup:
    """A checkup whose command is a line of Python instead of ours."""
    checkup = Checkup([], **options)
    checkup._command = (sys.executable, "-c", text)
    return checkup


def test_a_command_is_asked_once_a_minute_and_bounded() -> None:
    """The first look starts it, the next finds what it said; one that hangs is ended, one that
    fails says its last line, and a second look within a minute starts nothing."""

    async def look() -> None:
        counted = say("import json; print(json.dumps([1]))")
        assert counted.look() is None
        await counted.wait()
        said = counted.look()
        assert said is not None
        assert (said.content, said.fault) == ([1], "")
        assert counted.look() is said
        hangs = say("import time; time.sleep(60)", bound_seconds=0.5)
        fails = say("import sys; sys.exit('closedloop: the disk is full')")
        for checkup, fault in ((hangs, "no answer within"), (fails, "the disk is full")):
            checkup.look()
            await checkup.wait()
            found = checkup.look()
            assert found is not None
            assert fault in found.fault
        stopped = say("import time; time.sleep(60)")
        stopped.look()
        await asyncio.sleep(0)
        await Checkups(stopped, say("")).stop()

    asyncio.run(look())


@pytest.mark.parametrize("ok", [True, False])
def test_what_doctor_says_is_text(place: Place, ok: bool) -> None:
    """A finding that holds markup is shown, not obeyed, and a failed one comes with what to do."""
    from datetime import UTC, datetime

    from api.page.checkup import Said
    from api.page.frame import Frame, Templates

    finding = {"check": "<b>x</b>", "ok": ok, "found": "</script>\x1b[31m", "next": "do <i>it</i>"}
    said = Said(datetime(2026, 11, 20, tzinfo=UTC), [finding])
    facts = {
        "doctor": said,
        "pruning": None,
        "deleted": [],
        "checking": False,
        "keys": [],
        "keys_of_others": False,
    }
    facts |= {"fault": "", "records": {}, "open": [], "alerts": []}
    page = Templates().render("health.html", Frame("shop", "/health", [], None, True), facts)
    assert "&lt;/script&gt;\\x1b[31m" in page
    assert "<b>x" not in page
    assert ("What to do" in page) is not ok
