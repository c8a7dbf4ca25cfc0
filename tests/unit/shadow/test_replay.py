"""A candidate that judged rows cannot tell from production is caught on what clients asked, before
it is decided on and while it waits for a person."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from rich.console import Console

from closedloop.cli.app import main
from closedloop.cli.decision_view import show_decision
from closedloop.cli.service import build_service
from closedloop.decisions.checks import Action, Check, Decision, Kind, Outcome, Role
from closedloop.decisions.shadow import ANSWERS, FLIPS, LATENCY, REPLAYED, shadow_checks
from closedloop.decisions.shadow_policy import ShadowPolicy
from closedloop.records.shadow import RecordedRequest, ShadowRecords
from closedloop.shadow.replay import Version, replay
from closedloop.storage.details import PromotionDetails, ShadowFacts
from closedloop.storage.entry import Entry
from closedloop.turn.open import Loop
from closedloop.turn.waiting_decisions import answer_key
from closedloop.use_case.loop_toml import load_use_case
from tests.turned_loop import TurnedLoop
from tests.unit.shadow.made_candidates import (
    ask,
    fall_over,
    set_faults,
    usual_rows,
    write_odd_loop,
)
from tests.waiting import until

pytestmark = pytest.mark.slow
REGULARS = f"{FLIPS} in slice regulars"


@dataclass(frozen=True)
class Turned:
    """A loop with a version in production, thirty recorded requests, and a bad candidate."""

    turned: TurnedLoop
    loop: Loop
    first: Entry
    bad: Entry

    @property
    def requests(self) -> Sequence[RecordedRequest]:
        return ShadowRecords(self.loop.engine).read_newest("shop", 1000)

    def version(self, number: int) -> Version:
        return Version(self.loop.registry.download(number))


@pytest.fixture(scope="module")
def turned(
    tmp_path_factory: pytest.TempPathFactory, make_mlflow_tables: Callable[[Path], None]
) -> Turned:
    made = write_odd_loop(tmp_path_factory.mktemp("shadow") / "shop", 2)
    make_mlflow_tables(made.settings.home)
    first = made.train("2026-01")
    ask(made.open(), 1, usual_rows(30))
    set_faults(made, "slow", "fails", "flips")
    bad = made.train("2026-02")
    return Turned(made, made.open(), first, bad)


def _facts(entry: Entry) -> ShadowFacts | None:
    assert isinstance(entry.details, PromotionDetails)
    return entry.details.shadow


def test_without_records_nothing_is_known_and_the_gate_stays_open(turned: Turned) -> None:
    """The first model of a loop that nobody asked yet is promoted; a note says that there was
    nothing to replay."""
    decision = turned.first.decision
    assert (decision.action, _facts(turned.first)) == (Action.PROMOTE, None)
    found = [check for check in decision.checks if check.claim == REPLAYED]
    assert [(check.role, check.outcome) for check in found] == [(Role.NOTE, Outcome.UNKNOWN)]


def test_recorded_requests_stop_a_candidate_that_labels_do_not(turned: Turned) -> None:
    """One that is slower, fails on some rows and turns a slice around is rejected by these checks
    alone, and `why` says so in plain words."""
    bad, closed = turned.bad, dict[str, Check]()
    assert bad.decision.action is Action.REJECT
    for check in bad.decision.checks:
        if check.role is Role.GATE and check.outcome is not Outcome.HOLDS:
            closed[check.claim] = check
    assert set(closed) == {ANSWERS, LATENCY, FLIPS, REGULARS}
    assert closed[ANSWERS].got == "errors on 3 of 30 rows, such as: ValueError: no plan platinum"
    facts = _facts(bad)
    assert facts is not None
    assert (facts.shadow_rows, facts.shadow_errors, facts.shadow_failure) == (30, 3, None)
    assert turned.loop.journal.entry(bad.id).details == bad.details, "as it was written"
    assert turned.loop.registry.production() == 1
    written = StringIO()
    show_decision(Console(file=written, width=250), bad, every_check=True)
    assert "of 30 recorded rows the candidate fails on 3 and predicts as" in written.getvalue()
    assert "in slice regulars it changes 9 of 27 predictions" in written.getvalue()
    assert "ValueError: no plan platinum" in written.getvalue()


def test_a_version_agrees_with_itself(turned: Turned) -> None:
    """Asked beside itself, a version changes no prediction, moves no score, is as quick and as
    small as itself, and every check holds under the strictest limits of what is answered."""
    version = turned.version(1)
    found = replay(turned.requests, version, version, turned.loop.use_case)
    assert (found.requests, found.rows, found.compared, found.flips) == (30, 30, 30, 0)
    assert (found.new_errors, found.score_shift, found.unsent) == (0, 0.0, ())
    assert found.candidate is not None
    assert found.candidate.p95_ms is not None
    assert found.candidate.memory_mb is not None
    assert found.candidate.p95_ms >= 4
    assert 50 < found.candidate.memory_mb < 1000
    strict = ShadowPolicy(max_flips=0, max_score_shift=0, min_rows=1)
    assert all(check.outcome is Outcome.HOLDS for check in shadow_checks(found, strict))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        pytest.param("hang", "none within 1 seconds", marks=pytest.mark.nightly),
        ("die", "a process that ended by SIGKILL"),
    ],
)
def test_a_candidate_that_hangs_or_dies_is_found_and_ended(
    turned: Turned, how: str, told: str
) -> None:
    """Its process is ended after the time that a request may take; the replay says what happened,
    and the gate is closed."""
    fall_over(turned.turned, how)
    found = replay(
        turned.requests, turned.version(1), None, turned.loop.use_case, request_seconds=1
    )
    fall_over(turned.turned, "no")
    assert found.candidate is not None
    assert found.candidate.failure == told
    check = shadow_checks(found, ShadowPolicy())[0]
    assert (check.claim, check.role, check.outcome) == (ANSWERS, Role.GATE, Outcome.FAILS)
    assert told in check.summary


def test_the_newest_rows_are_replayed(turned: Turned) -> None:
    """As many as the policy says, the newest first."""
    records = ShadowRecords(turned.loop.engine)
    newest = records.read_newest("shop", 3)
    assert [int(request.request) for request in newest] == [29, 28, 27]
    assert records.read_newest("another", 3) == ()


def test_a_waiting_candidate_answers_in_the_shadow_of_the_api(
    turned: Turned, capsys: pytest.CaptureFixture[str]
) -> None:
    """With [serving] shadow the API asks the candidate that waits for a person, whatever that does:
    clients get production's answers alone, the candidate's are recorded, and `closedloop shadow`
    compares both where labels came. What a person decides ends it."""
    made, loop = turned.turned, turned.loop
    text = made.path.read_text(encoding="utf-8")
    made.path.write_text(f"{text}[serving]\nshadow = true\n", encoding="utf-8")
    use_case = load_use_case(made.path)
    assert use_case.fingerprint == loop.use_case.fingerprint, "it decides nothing"
    waits = loop.journal.write(
        "waits",
        "shop",
        Decision(Kind.PROMOTION, Action.WAIT, "2026-02", (), 2),
        details=PromotionDetails(1),
    )
    service = build_service(use_case, made.settings, "127.0.0.1", "here", "now")
    rows = [{**row, "customer": f"c{place}"} for place, row in enumerate(usual_rows(30))]
    with TestClient(service, base_url="http://127.0.0.1") as client:
        until(lambda: _metric(client, "closedloop_shadow_version") == 2, "the shadow")
        fine = [row for row in rows if row["plan"] == "gold"]
        broken = [row for row in rows if row["plan"] != "gold"]
        given = [
            client.post("/predict", json={"rows": part}).json()
            for part in (fine[:9], fine[9:], broken)
        ]
        until(lambda: _metric(client, "closedloop_shadow_rows_total") == 30, "its answers")
        labels = [
            {"key": f"c{place}", "label": "yes" if place < 15 else "no"} for place in range(30)
        ]
        assert client.post("/labels", json={"labels": labels}).status_code == 200
        rejected = Decision(Kind.PROMOTION, Action.REJECT, "2026-02", (), 2)
        loop.journal.write(answer_key(waits), "shop", rejected, details=PromotionDetails(1))
        until(lambda: _metric(client, "closedloop_shadow_version") == 0, "its end")
        assert _metric(client, "closedloop_shadow_dropped_rows_total") == 0
    assert {answer["version"] for answer in given} == {1}
    environment = {"CLOSEDLOOP_HOME": str(made.settings.home)}
    assert main(["shadow", "--json", "--use-case", str(made.path)], environment) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["version"], found["production"], found["rows"]) == (2, [1], 30)
    assert (found["failed"], found["compared"], found["flips"]) == (3, 27, 9)
    assert [(part["name"], part["flips"]) for part in found["slices"]] == [("regulars", 9)]
    assert found["labelled"] == 27
    # Production says "no" to those who spend much, as most labels do; the candidate turns some.
    assert found["auc"]["value"] < found["production_auc"]["value"] == 1.0
    assert found["delta"]["value"] == found["auc"]["value"] - 1.0
    assert main(["shadow", "--use-case", str(made.path)], environment) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "version 2 was asked 30 rows in the shadow of version 1; it failed on 3" in shown
    assert "another class on 9" in shown
    assert main(["why", str(waits.id), "--use-case", str(made.path)], environment) == 0
    assert "closedloop shadow --version 2" in capsys.readouterr().out
    assert main(["shadow", "--version", "7", "--use-case", str(made.path)], environment) == 2
    assert "versions with such answers: 2" in capsys.readouterr().err


def _metric(client: TestClient, name: str) -> float | None:
    lines = (line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines())
    return next((float(line[1]) for line in lines if line[0].partition("{")[0] == name), None)
