"""The page as people use it: a browser, the real page, the real API, and a loop with embedded
stores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from closedloop.decisions.checks import Kind
from closedloop.storage.entry import Entry
from closedloop.turn.history import History
from closedloop.turn.kept_evidence import keep_evidence
from closedloop.turn.take_turn import take_turn
from tests.e2e.page_browser import PageBrowser
from tests.e2e.running_stack import free_ports
from tests.stack.pages import find_browser
from tests.turned_loop import TurnedLoop, write_loop
from tests.waiting import until

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="wanted chromium and chromium-driver"),
]
HOSTILE = "</script><script>document.title='taken'</script>"
MOST_BYTES, MOST_MILLISECONDS = 300_000, 1_000.0
VIEWS = ("/", "/decisions", "/drift", "/versions", "/health", "/versions/2", "/decisions/2")


@dataclass(frozen=True)
class Running:
    """A loop, and the page and the API that run on it."""

    turned: TurnedLoop
    page: str
    api: str
    environment: dict[str, str]

    def type(self, *words: str) -> str:
        """What a command prints, typed into a terminal beside."""
        command = [sys.executable, "-m", "closedloop", *words]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def answering(self, key: str) -> int:
        """The version that answers a row."""
        row: dict[str, Any] = {"spend": 20.0, "plan": "gold", "active": "True", "visits": 3}
        row[HOSTILE] = 1.0
        body = json.dumps({"rows": [row]}).encode()
        headers = {"Content-Type": "application/json", "X-API-Key": key}
        request = urllib.request.Request(f"{self.api}/predict", body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(json.loads(answer.read())["version"])

    def newest(self) -> Entry:
        """The newest decision, without the notes of what is served."""
        entries = self.turned.open().journal.history("shop")
        return [entry for entry in entries if entry.decision.kind is not Kind.SERVING][-1]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are kept: PAGE_PICTURES names a folder that stays."""
    folder = Path(os.environ.get("PAGE_PICTURES") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Version 1 answers, visits have drifted, and version 2 waits for a person."""
    turned = make_loop(tmp_path_factory.mktemp("loop") / "shop")
    ports = free_ports("API", "PAGE")
    page = f"http://127.0.0.1:{ports['PAGE']}"
    environment = {
        **os.environ,
        "CLOSEDLOOP_HOME": str(turned.settings.home_folder),
        "CLOSEDLOOP_USE_CASE": str(turned.path),
        "CLOSEDLOOP_PORT": str(ports["API"]),
        "CLOSEDLOOP_PAGE_PORT": str(ports["PAGE"]),
        "CLOSEDLOOP_PAGE_URL": page,
    }
    api = f"http://127.0.0.1:{ports['API']}"
    with ExitStack() as stack:
        for command, probe in (("serve", f"{api}/ready"), ("page", f"{page}/alive")):
            log = turned.folder / f"{command}.log"
            stack.enter_context(serving(command, environment, log, probe))
        yield Running(turned, page, api, environment)


def make_loop(folder: Path) -> TurnedLoop:
    """Three months, a column with a hostile name, a drift in the last month, an open question."""
    turned = write_loop(folder, 3)
    text = turned.path.read_text()
    column = f'[columns.{json.dumps(HOSTILE)}]\ntype = "numeric"\n[training]'
    turned.path.write_text(text.replace("[training]", column))
    for month in sorted(folder.glob("2026-*.csv")):
        rows = pd.read_csv(month)
        rows[HOSTILE] = rows["spend"].rank()
        if month.stem == "2026-03":
            rows["visits"] += 6
        rows.to_csv(month, index=False)
    assert turned.train("2026-01").decision.version == 1
    with turned.path.open("a") as file:
        file.write('approval = "always"\n')
    loop = turned.open()
    take_turn(History(loop, "2026-03").look(), keep_report=keep_evidence)
    waiting = turned.train("2026-03")
    assert waiting.decision.action.value == "wait", waiting.decision.reason
    return turned


@contextmanager
def serving(command: str, environment: dict[str, str], log: Path, probe: str) -> Iterator[None]:
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "closedloop", command], env=environment, stdout=file, stderr=file
        )
    try:
        try:
            until(lambda: answers(probe), f"an answer of {command}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {log.read_text()[-2000:]}") from None
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


def test_people_decide_on_the_page(running: Running, pictures: Path) -> None:
    """Keys are added, somebody logs in from the API's address, sees what waits with its evidence,
    approves it, and the API answers with the new version; a drifted column is opened, two versions
    compared, and production rolled back, which the API follows. No console complains, and no
    request leaves the machine."""
    anna = running.type("key", "add", "anna", "--role", "operator")
    shop = running.type("key", "add", "shop")
    assert running.answering(shop) == 1
    with PageBrowser(pictures) as browser:
        browser.open(f"{running.api}/")
        until(lambda: "Log in" in browser.text(), "the login")
        browser.picture("login")
        browser.write("key", anna)
        browser.follow("Log in")
        assert "anna, operator" in browser.text()
        assert "Waits for you" in browser.text()
        browser.picture("overview-waiting")
        browser.follow("Look at the evidence")
        assert "Wanted" in browser.text()
        browser.picture("decision-waiting")
        browser.follow("Approve")
        assert "What this changes" in browser.text()
        assert "version 1" in browser.text()
        browser.picture("approve")
        browser.write("reason", f"clear gain {HOSTILE}")
        browser.follow("Approve: let version 2 answer")
        assert "Version 2 is in production" in browser.text()
        browser.picture("approved")
        assert (running.newest().by, running.newest().decision.version) == ("anna", 2)
        until(lambda: running.answering(shop) == 2, "version 2 from the API")
        browser.open(f"{running.page}/decisions/{running.newest().id}")
        assert HOSTILE in browser.text()
        browser.picture("decision-approved")

        browser.follow("Drift")
        browser.picture("drift")
        browser.follow("visits")
        assert browser.find("svg")
        browser.picture("column")
        browser.follow("Versions")
        browser.choose("first", "version 1")
        browser.choose("second", "version 2")
        browser.picture("versions")
        browser.follow("Compare")
        assert "/versions/compare" in browser.address
        browser.picture("compare")

        browser.open(f"{running.page}/versions/2")
        browser.follow("Roll back")
        assert "version 2 is archived" in browser.text()
        browser.picture("roll-back")
        browser.write("reason", "it was worse")
        browser.follow("Roll back: let version 1 answer")
        assert "Version 1 is in production again" in browser.text()
        until(lambda: running.answering(shop) == 1, "version 1 from the API")
        browser.follow("Health")
        until(lambda: "checks" in browser.text() and "As of" in browser.text(), "the checks")
        browser.picture("health")
        assert browser.complaints() == []
        assert browser.asked_hosts() == {"127.0.0.1"}


def test_every_view_is_light_and_has_no_barriers(running: Running, pictures: Path) -> None:
    """axe-core finds nothing serious, dark or light; a view with all its parts weighs less than
    300 KB and is there within a second; on a phone no view is wider than the window."""
    wall = running.type("key", "add", "wall", "--role", "viewer")
    with PageBrowser(pictures) as browser:
        browser.open(f"{running.page}/login")
        if find_spec("axe_core_python") is not None:
            assert browser.barriers() == []
        browser.write("key", wall)
        browser.follow("Log in")
        addresses = [*VIEWS, "/versions/compare?first=1&second=2"]
        for path in addresses:
            browser.resize(1280, 900)
            browser.open(f"{running.page}{path}")  # once before, because imports are not the page
            browser.open(f"{running.page}{path}")
            size, milliseconds = browser.weigh()
            assert size < MOST_BYTES, path
            assert milliseconds < MOST_MILLISECONDS, path
            for dark in (False, True):
                browser.resize(1280, 900, dark=dark)
                if find_spec("axe_core_python") is not None:
                    assert browser.barriers() == [], (path, dark)
            browser.picture(f"dark{path.partition('?')[0].replace('/', '-')}")
            browser.resize(390, 844)
            assert not browser.is_wider_than_its_window(), path
            browser.picture(f"phone{path.partition('?')[0].replace('/', '-')}")
        assert browser.complaints() == []
        assert browser.asked_hosts() == {"127.0.0.1"}


def test_the_drift_report_can_do_nothing(running: Running, pictures: Path) -> None:
    """It is drawn in a frame, by its own scripts, without an origin: it cannot see the page around
    it or its cookies, and asks nobody for anything."""
    bert = running.type("key", "add", "bert", "--role", "viewer")
    turn = next(
        entry
        for entry in running.turned.open().journal.history("shop")
        if entry.turn.run is not None
    )
    with PageBrowser(pictures) as browser:
        browser.open(f"{running.page}/login?next=/decisions/{turn.id}/report")
        browser.write("key", bert)
        browser.follow("Log in")
        [frame] = browser.find("iframe")
        assert frame.get_attribute("sandbox") == "allow-scripts"
        browser.open(f"{running.page}/decisions/{turn.id}/report/content")
        until(lambda: "visits" in browser.text(), "the report")
        browser.picture("report")
        origin, cookie = browser.ask_of_itself()
        assert origin == "null"
        assert "SecurityError" in cookie
        assert browser.asked_hosts() == {"127.0.0.1"}
