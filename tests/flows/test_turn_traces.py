"""What a turn leaves behind: journal, reports, Prefect pages, and the version that serves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from closedloop.cli.decision_view import tell_report
from closedloop.decisions.checks import Kind
from closedloop.registry.data_inputs import hash_data
from closedloop.turn.history import History
from closedloop.turn.move_by_hand import promote_by_hand, roll_back_by_hand
from closedloop.views.timeline import find_links
from closedloop.windows.prepare import prepare
from tests.flows.conftest import Campaign, Place

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]

REPOSITORY = Path(__file__).resolve().parents[2]
REAL = REPOSITORY.parent / "shared/data/streamflow"


def test_the_report_is_kept_where_the_journal_says(campaign: Campaign) -> None:
    """Evidently's page is an artifact of the run that the decision names, which has the window as
    its input, with the digest of all of its rows; the page links to it, and to Prefect's run."""
    loop = campaign.place.open()
    entry = next(
        entry
        for entry in loop.journal.history("streamflow")
        if entry.decision.window == "month_002"
    )
    run = entry.turn.run
    assert run is not None
    page = loop.registry.local_file(run.run, "drift_report.html")
    assert page is not None
    assert page.stat().st_size > 100_000
    assert run.run in run.report
    assert loop.registry.local_file(run.run, "distributions.json")
    links = find_links(loop, entry, None)
    assert run.flow_run is not None
    assert links.prefect == f"{loop.settings.prefect_address}/runs/flow-run/{run.flow_run}"
    assert links.report == f"{links.run}/drift_report.html"
    logged = loop.registry._client.get_run(run.run)
    [used] = logged.inputs.dataset_inputs
    digest = History(loop, "month_002").read("month_002").facts.digest
    assert (used.dataset.name, used.dataset.digest) == ("month_002", digest[:36])
    assert [tag.value for tag in used.tags] == ["monitoring"]
    assert logged.data.tags["closedloop.data_sha256"] == hash_data({"month_002": digest})


def test_serving_follows_the_registry_and_the_journal_says_what_was_live(
    campaign_copy: Place,
) -> None:
    """The alias moves in MLflow, nobody restarts anything, and the API answers with the version it
    points at; the journal notes both. Every move of production is an entry with a time, a version
    and what it replaced."""
    import urllib.request

    from closedloop.cli.service import serving

    loop = campaign_copy.open()
    rows = prepare(loop.source.read("month_002"), loop.use_case)[list(loop.use_case.columns)].head(
        1
    )
    body = rows.replace({"(missing)": None}).to_json(orient="records")
    with serving(loop.use_case, loop.settings, "127.0.0.1", 0) as address:

        def answering() -> int:
            request = urllib.request.Request(
                f"{address}/predict",
                f'{{"rows": {body}}}'.encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=30) as response:
                return int(json.load(response)["version"])

        assert answering() == 2
        roll_back_by_hand(loop, None)
        deadline = time.monotonic() + 60
        while answering() != 1 and time.monotonic() < deadline:
            pass
        assert answering() == 1
    served = [
        entry.decision.version
        for entry in loop.journal.history("streamflow")
        if entry.decision.kind is Kind.SERVING
    ]
    assert served == [2, 1]
    promote_by_hand(loop, 2)
    moves = [
        entry
        for entry in loop.journal.history("streamflow")
        if entry.decision.kind in (Kind.PROMOTION, Kind.ROLLBACK)
    ]
    assert [(entry.decision.version, entry.production, entry.outcome) for entry in moves] == [
        (1, None, "done"),
        (2, 1, "done"),
        (1, 2, "done"),
        (2, 1, "done"),
    ]
    assert [entry.at for entry in moves] == sorted(entry.at for entry in moves)


@pytest.mark.nightly
def test_the_disk_does_not_fill_with_reports(
    make_place: Callable[..., Any], turn: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loops never delete: of the drift reports only the newest are kept, and what was measured
    stays."""
    monkeypatch.setenv("CLOSEDLOOP_KEEP_REPORTS", "1")
    monkeypatch.setenv("CLOSEDLOOP_REPORT_WINDOWS", "all")
    place = make_place(
        0,
        0,
        1,
        changes={
            "drift_trigger = true": "drift_trigger = false",
            "auc_loss_trigger = true": "auc_loss_trigger = false",
        },
    )
    for number in range(3):
        turn(place, f"month_{number:03d}")
    loop = place.open()
    runs = [
        entry.turn.run.run
        for entry in loop.journal.history("streamflow")
        if entry.turn.run and entry.turn.drift and entry.turn.drift.drift_share is not None
    ]
    assert len(runs) == 2
    assert [loop.registry.local_file(run, "drift_report.html") is not None for run in runs] == [
        False,
        True,
    ]
    assert all("drift" in loop.registry.read_run_file(run, "evidence.json") for run in runs)
    told = {
        entry.turn.run.run: tell_report(loop, entry) or ""
        for entry in loop.journal.history("streamflow")
        if entry.turn.run
    }
    assert told[runs[0]].startswith("the drift report was pruned")
    assert f"runs/{runs[1]}/artifacts/drift_report.html" in told[runs[1]]


def test_the_decision_is_shown_in_prefect(campaign: Campaign) -> None:
    """The Prefect UI gets the decision as a page and a link to the drift report."""
    assert "month_002" in campaign.pages["turn-decision"]
    assert "drift_report.html" in campaign.pages["turn-decision"]
    assert "delta on month_002" in campaign.pages["promotion-decision"]
