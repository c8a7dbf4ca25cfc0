"""Labels in a turn: late, missing, of one class, swapped, or from the service itself."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from msgspec import structs
from rich.console import Console

from closedloop.bundle.frames import score_frame
from closedloop.cli.decision_view import show_decision
from closedloop.cli.finished_turn import is_quarantine_of
from closedloop.cli.status_view import read_status
from closedloop.decisions.checks import Kind
from closedloop.errors import ModelError, SourceError
from closedloop.records.labels import Label
from closedloop.turn.history import History
from closedloop.turn.open import open_loop
from closedloop.turn.register import propose_candidate
from closedloop.windows.prepare import prepare
from tests.answers import describe_answers

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]

REPOSITORY = Path(__file__).resolve().parents[2]
REAL = REPOSITORY.parent / "shared/data/streamflow"


def test_served_rows_become_a_window(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """Rows that the service answered, labelled later, are judged like any other window: their drift
    and production's AUC on them."""
    place = make_place(0, 4)
    turn(place, "month_000")
    loop = place.open()
    rows = prepare(loop.source.read("month_001"), loop.use_case)
    (place.path.parent / "generated/month_001").rename(place.path.parent / "taken")
    bundle = loop.registry.load(1)
    answers = score_frame(bundle.scorer, rows)
    features = (
        rows[list(loop.use_case.columns)]
        .astype(object)
        .where(rows[list(loop.use_case.columns)] != "(missing)", None)
    )
    request = describe_answers(
        "streamflow",
        1,
        {
            name: [None if pd.isna(value) else value for value in features[name]]
            for name in features
        },
        dict(zip(bundle.facts.classes, answers.T.tolist(), strict=True)),
        keys=[str(key) for key in rows["user_id"]],
    )
    # Everybody asks again: each key still counts once, with the label of its first answer.
    loop.records.append([request, structs.replace(request, request="again")])
    loop.records.label_many(
        [
            Label(label=str(label), id=number)
            for number, label in zip(request.ids, rows["churn_label"], strict=True)
        ]
    )
    window = open_loop(place.path, settings=place.settings, with_records=True).source.windows()[-1]
    assert window.startswith("records_")
    decisions = turn(place, window, source="records")
    assert decisions[0] == ("retraining", "retrain")
    entry = next(
        entry
        for entry in place.open().journal.history("streamflow")
        if entry.decision.window == window
    )
    assert entry.turn.drift.drift_share > 0.3
    assert entry.turn.realised.realised_on == window
    assert entry.turn.window.rows == entry.turn.window.labelled_rows == len(rows)
    assert entry.turn.notes == (
        f"{len(rows)} answers were followed by a newer answer for the same key: the newest of "
        "each counts",
    )


def test_labels_that_are_not_due_are_not_looked_at(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """With a label delay of one window, the labels of the current window neither judge nor
    teach."""
    place = make_place(0, 0, 2, changes={"delay_windows = 0": "delay_windows = 1"})
    history = History(place.open(), "month_002")
    assert history.due == ("month_000", "month_001")
    evidence = propose_candidate(history)
    assert evidence.comparison is not None
    assert evidence.comparison.window == "month_001"
    assert place.open().registry.load(1).facts.trained_windows == ("month_000", "month_001")


@pytest.mark.nightly
def test_a_window_without_labels_is_watched_and_not_trained_on(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """Labels that have not come: drift is measured, the trigger fires, and the guard says what is
    missing."""
    place = make_place(0, 4)
    turn(place, "month_000")
    (place.path.parent / "generated/month_001/labels.csv").write_text("user_id,churn_label\n")
    assert turn(place, "month_001") == [("retraining", "keep")]
    entry = place.open().journal.history("streamflow")[-1]
    assert entry.turn.drift.drift_share > 0.3
    assert "enough new labels" in entry.decision.reason


@pytest.mark.nightly
def test_auc_is_estimated_before_labels_and_held_against_them_after(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """No label of the window has come: the turn writes an estimate down, Prefect and the status
    show it, and the turn that the labels bring says how it did."""
    from prefect.client.orchestration import get_client

    calm = {f"{name}_trigger = true": f"{name}_trigger = false" for name in ("drift", "auc_loss")}
    place = make_place(0, 0, 0, changes=calm)
    labels = place.path.parent / "generated/month_002/labels.csv"
    truth = labels.read_text()
    labels.write_text("user_id,churn_label\n")
    turn(place, "month_000")
    assert turn(place, "month_002") == [("retraining", "keep")]
    loop = place.open()
    auc, lower, upper = astuple(loop.journal.history("streamflow")[-1].turn.estimate)
    assert 0.5 < lower < auc < upper < 1
    with get_client(sync_client=True) as client:
        shown = {page.key: page.data for page in client.read_latest_artifacts()}
    assert f"AUC without labels: about {auc:.2f}" in shown["turn-decision"]
    assert read_status(loop, {})["without_labels"]["estimated_auc"] == auc

    labels.write_text(truth)
    turn(place, "month_002")
    judged = place.open().journal.history("streamflow")[-1].turn.realised
    assert (judged.realised_on, judged.estimated_for_judged) == ("month_002", auc)


def test_training_without_any_labels_says_so(make_place: Callable[..., Any]) -> None:
    """Nothing to learn from: one sentence, no traceback of a library."""
    place = make_place(0)
    (place.path.parent / "generated/month_000/labels.csv").write_text("user_id,churn_label\n")
    with pytest.raises(
        SourceError, match=r"a window with labels .*left out: month_000 \(no labels\)"
    ):
        propose_candidate(History(place.open()))


def test_one_class_only_says_so(make_place: Callable[..., Any]) -> None:
    """Labels of one class cannot be learned from: a clear error that names the class that is
    missing."""
    place = make_place(0, 0)
    for month in ("month_000", "month_001"):
        labels = place.path.parent / f"generated/{month}/labels.csv"
        labels.write_text(labels.read_text().replace("True", "False"))
    with pytest.raises(ModelError, match="True"):
        propose_candidate(History(place.open()))


@pytest.mark.nightly
def test_flipped_labels_do_not_reach_production(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """A month whose classes were swapped is quarantined, by a decision of its own that says why:
    production's AUC there is far below its last windows. The turn calls a person, and the status
    says what to do. A second look adds nothing."""
    place = make_place(0, 1, 1, 1, 1, changes={"max_age_windows = 4": "max_age_windows = 100"})
    labels = place.path.parent / "generated/month_004/labels.csv"
    text = labels.read_text()
    labels.write_text(text.replace("True", "x").replace("False", "True").replace("x", "False"))
    turn(place, "month_000")
    decided = turn(place, "month_004")
    assert decided == [("quarantine", "quarantine"), ("retraining", "escalate")]
    assert turn(place, "month_004") == decided
    loop = place.open()
    entries = loop.journal.history("streamflow")
    kept_out = next(entry for entry in entries if entry.decision.kind is Kind.QUARANTINE)
    text = io.StringIO()
    show_decision(Console(file=text, width=300), kept_out, every_check=True)
    assert "is far below the windows before" in text.getvalue()
    assert "class shares are far from the windows before" in text.getvalue()
    assert kept_out.outcome == "done"
    turns = [entry for entry in entries if entry.decision.kind is Kind.RETRAINING]
    shown = [turn.decision.window for turn in turns if is_quarantine_of(kept_out, turn)]
    assert shown == ["month_004"]
    assert "month_004" in History(loop, "month_004").quarantined()
    told = read_status(loop, {})["kept_out"][0]["told"]
    assert "release it with: closedloop quarantine release month_004, or the next" in told
    # A person may ask for a training all the same: it does not learn from that month.
    assert turn(place, "month_004", "train")[-1] == ("promotion", "escalate")
    newest = loop.registry.versions()[-1]
    assert "month_004" not in loop.registry.load(newest.version).facts.trained_windows
