"""Whole turns of the loop on generated months, proved by what moved and what was written down."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from closedloop.cli.show import read_status
from closedloop.decisions.checks import Action, Kind
from closedloop.errors import ModelError, SourceError
from closedloop.records.labels import Label
from closedloop.records.request import describe_answers
from closedloop.settings import Settings
from closedloop.turn.carry_out import promote_by_hand, roll_back_by_hand
from closedloop.turn.history import History
from closedloop.turn.observe import gather_turn
from closedloop.turn.open import open_loop
from closedloop.turn.register import propose_candidate
from closedloop.windows.contract_check import prepare

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]

REPOSITORY = Path(__file__).resolve().parents[2]
REAL = REPOSITORY.parent / "shared/data/streamflow"


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, str]]]:
    """Run a flow in this process; returns (kind, action) of every decision about the window."""
    from flows.monitor_flow import monitor_flow
    from flows.train_and_compare_flow import train_and_compare_flow

    def take_turn(
        place: Any, window: str, name: str = "monitor", **named: Any
    ) -> list[tuple[str, str]]:
        monkeypatch.setenv("CLOSEDLOOP_HOME", str(place.settings.home))
        flow = {"monitor": monitor_flow, "train": train_and_compare_flow}[name]
        flow(use_case=str(place.path), window=window, **named)
        return decisions_of(place, window)

    return take_turn


def decisions_of(place: Any, window: str) -> list[tuple[str, str]]:
    loop = place.open()
    entries = [
        one for one in loop.journal.history(loop.use_case.name) if one.decision.window == window
    ]
    return [(one.decision.kind.value, one.decision.action.value) for one in entries]


def test_the_first_model_is_judged_on_rows_it_was_not_fitted_on(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """With one window only, the evaluation rows are held out of the twin, and the version that is
    shipped is in production."""
    place = make_place(0)
    assert turn(place, "month_000") == [("retraining", "retrain"), ("promotion", "promote")]
    loop = place.open()
    assert loop.registry.production() == 1
    evidence = json.loads(loop.registry.read_file(1, "evidence.json"))
    assert evidence["comparison"]["held_out"] is True
    assert evidence["comparison"]["candidate"]["rows"] < 0.4 * loop.registry.load(1).facts.rows


def test_the_first_model_is_proved_as_onnx(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """The version says what serves it, the proof is with its run and in its bundle, and the
    decision rests on the larger difference."""
    from closedloop.bundle.files import read_proof
    from closedloop.bundle.onnx_model import load_served
    from closedloop.bundle.onnx_proof import pack_frame

    place = make_place(0)
    turn(place, "month_000")
    loop = place.open()
    bundle = loop.registry.load(1)
    proof = json.loads(loop.registry.read_file(1, "proof.json"))
    evidence = json.loads(loop.registry.read_file(1, "evidence.json"))
    assert proof == asdict(read_proof(bundle.folder))
    assert proof["served_by"] == evidence["served_by"] == bundle.served_by == "onnx"
    assert proof["difference"] <= evidence["packaging_difference"] < 1e-6
    assert loop.registry.version(1).served_by == "onnx"
    rows = prepare(loop.source.read("month_000"), loop.use_case)
    model = load_served(bundle.folder)
    packed = pack_frame(rows, model.numeric, model.categorical)
    assert abs(model.probabilities(*packed) - bundle.probabilities(rows)).max() < 1e-6


def test_a_second_look_at_the_same_window_decides_nothing_new(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """The same data and the same loop.toml: the same decisions, no new version, no second
    training."""
    place = make_place(0, 2)
    first = turn(place, "month_000")
    assert turn(place, "month_000") == first
    second = turn(place, "month_001")
    assert turn(place, "month_001") == second
    assert turn(place, "month_001", "train")[: len(second)] == second
    assert len(place.open().registry.versions()) == 2


def test_broken_data_is_escalated_and_never_trained_on(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """The month in cents and without payments names column, wanted and got; a later training leaves
    its rows out."""
    place = make_place(0, 5, 6)
    turn(place, "month_000")
    assert turn(place, "month_001") == [("retraining", "escalate")]
    loop = place.open()
    entry = loop.journal.history("streamflow")[-1]
    fee = next(check for check in entry.decision.checks if check.claim.startswith("monthly_fee"))
    assert fee.wanted == "0 to 500"
    assert "outside" in fee.got
    assert any(check.claim.startswith("failed_payments_90d") for check in entry.decision.checks)
    turn(place, "month_002", "train")
    newest = place.open().registry.versions()[-1]
    assert loop.registry.load(newest.version).facts.trained_windows == ("month_000", "month_002")


def test_the_campaign_month_is_promoted_and_taken_back_when_it_is_over(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """Promoted on what was known, rolled back on what came: production and previous move, the
    journal says why, nothing retrains."""
    place = make_place(0, 2, 0, rows=3000)
    turn(place, "month_000")
    assert turn(place, "month_001") == [("retraining", "retrain"), ("promotion", "promote")]
    assert place.open().registry.previous() == 1
    assert turn(place, "month_002") == [("rollback", "rollback")]
    loop = place.open()
    assert (loop.registry.production(), loop.registry.previous()) == (1, None)
    assert loop.registry.version(2).status == "archived"
    assert turn(place, "month_002") == [("rollback", "rollback")], (
        "a second look must not decide again"
    )


def test_no_retrain_storm_when_every_window_drifts(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """Retrain storms: drift in every month trains no more often than the cooldown allows."""
    place = make_place(0, 4, 4, 4, changes={"cooldown_windows = 0": "cooldown_windows = 1"})
    trainings = 0
    for number in range(4):
        trainings += ("retraining", "retrain") in turn(place, f"month_{number:03d}")
    loop = place.open()
    indexes = [
        int(one.decision.window[-3:])
        for one in loop.journal.history("streamflow")
        if one.decision.action is Action.RETRAIN
    ]
    assert trainings == len(indexes)
    assert all(later - earlier > 1 for earlier, later in pairwise(indexes))


def test_two_monitors_started_at_once_train_once(
    make_place: Callable[..., Any], processes: Any, run: Callable[..., Any]
) -> None:
    """Two processes look at the same window at the same moment: one version, one promotion."""
    place = make_place(0)
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(run("monitor", place, "month_000")[0]))
        for _ in range(2)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert results == [0, 0]
    assert decisions_of(place, "month_000") == [("retraining", "retrain"), ("promotion", "promote")]
    assert [one.version for one in place.open().registry.versions()] == [1]


def test_a_monitor_killed_before_its_retraining_is_finished_by_the_next(
    make_place: Callable[..., Any], run: Callable[..., Any]
) -> None:
    """The decision to retrain was written down, the process died: the next monitor carries it out,
    and decides nothing again."""
    place = make_place(0)
    _, steps = run("monitor", place, "month_000")
    first_training = steps.index("save_model")
    other = make_place(0, name="other")
    assert run("monitor", other, "month_000", kill_at=first_training)[0] == -9
    assert decisions_of(other, "month_000") == [("retraining", "retrain")]
    assert run("monitor", other, "month_000")[0] == 0
    assert decisions_of(other, "month_000") == [("retraining", "retrain"), ("promotion", "promote")]


def test_the_journal_answers_what_was_live_when(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """What was live when: every move of production is an entry with a time, a version and what it
    replaced."""
    place = make_place(0, 2)
    turn(place, "month_000")
    turn(place, "month_001")
    loop = place.open()
    roll_back_by_hand(loop, None)
    promote_by_hand(loop, 2)
    moves = [
        one
        for one in loop.journal.history("streamflow")
        if one.decision.kind in (Kind.PROMOTION, Kind.ROLLBACK)
    ]
    assert [(one.decision.version, one.details["production"], one.outcome) for one in moves] == [
        (1, None, "done"),
        (2, 1, "done"),
        (1, 2, "done"),
        (2, 1, "done"),
    ]
    assert [one.at for one in moves] == sorted(one.at for one in moves)


def test_the_champions_score_is_its_own(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """The champion's score is not taken from the challenger: it is what the registered model says
    of the evaluation rows."""
    from closedloop.metrics.auc import measure_auc

    place = make_place(0, 1, 2)
    turn(place, "month_000")
    turn(place, "month_002")
    loop = place.open()
    compared = json.loads(loop.registry.read_file(2, "evidence.json"))["comparison"]
    rows = History(loop, "month_002").read("month_002").labelled
    assert compared["production"]["val_auc"] == pytest.approx(
        measure_auc(rows.labels, loop.registry.load(1).probabilities(rows.frame))
    )
    assert compared["production"]["val_auc"] != compared["candidate"]["val_auc"]
    assert compared["production"]["rows"] == compared["candidate"]["rows"] == len(rows.labels)


def test_scores_of_different_windows_are_never_compared(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """An easy window sets no bar: the production score in the comparison is not the one logged when
    it was promoted."""
    place = make_place(0, 1, 2)
    turn(place, "month_000")
    turn(place, "month_002")
    loop = place.open()
    compared = json.loads(loop.registry.read_file(2, "evidence.json"))["comparison"]
    assert compared["production"]["window"] == "month_002"
    assert abs(compared["production"]["val_auc"] - (loop.registry.version(1).val_auc or 0)) > 0.005


def test_a_look_back_never_scores_production_on_rows_it_was_trained_on(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """Nothing looks ahead: held against an older window, production has no newer rows there to be
    judged on, and nothing is trained."""
    place = make_place(0, 1, 2)
    turn(place, "month_000")
    turn(place, "month_002", "train")
    assert place.open().registry.production() == 2
    assert turn(place, "month_001") == [("retraining", "keep")]
    entry = place.open().journal.history("streamflow")[-1]
    assert "realised_auc" not in entry.details
    assert "enough new labels" in [
        check.claim for check in entry.decision.checks if check.outcome == "fails"
    ]


def test_a_champion_that_needs_a_lost_column_does_not_block_every_release(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """A column leaves loop.toml: production cannot be asked any more, a retraining follows and a
    person is asked, who can promote."""
    place = make_place(0, 0)
    turn(place, "month_000")
    text = place.path.read_text()
    a, b = text.index("[columns.skips_7d]"), text.index("[columns.rebuffer_events_7d]")
    place.path.write_text((text[:a] + text[b:]).replace('golden = "golden.json"', ""))
    assert turn(place, "month_001") == [("retraining", "retrain"), ("promotion", "escalate")]
    loop = place.open()
    assert loop.registry.production() == 1
    assert "skips_7d" in loop.journal.history("streamflow")[-1].decision.reason
    promote_by_hand(loop, 2)
    assert loop.registry.production() == 2


def test_empty_and_constant_columns_do_not_stop_a_turn(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """A column that is empty, and one that never changes, are looked at like any other; the turn
    ends in a decision."""
    place = make_place(
        0,
        0,
        changes={
            '[columns.skips_7d]\ntype = "numeric"': '[columns.skips_7d]\ntype = "numeric"\nmax_null_rate = 1.0'
        },
    )
    turn(place, "month_000")
    usage = place.path.parent / "generated/month_001/usage_agg_30d.csv"
    frame = pd.read_csv(usage, dtype=str)
    frame["skips_7d"] = None
    frame.to_csv(usage, index=False)
    decisions = turn(place, "month_001")
    assert decisions[0][0] == "retraining"
    assert decisions[0][1] in ("keep", "retrain")
    entry = next(
        one
        for one in place.open().journal.history("streamflow")
        if one.decision.window == "month_001"
    )
    assert "skips_7d" in entry.details["drifted_columns"], "nulls must not be invisible to drift"


def test_the_report_is_kept_where_the_journal_says(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """Evidently's page is an artifact of the run that the decision names."""
    place = make_place(0, 2)
    turn(place, "month_000")
    turn(place, "month_001")
    loop = place.open()
    entry = next(
        one for one in loop.journal.history("streamflow") if one.decision.window == "month_001"
    )
    page = loop.registry.local_file(entry.details["run"], "drift_report.html")
    assert page is not None
    assert page.stat().st_size > 100_000
    assert entry.details["run"] in entry.details["report"]


def test_serving_follows_the_registry(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """The alias moves in MLflow, nobody restarts anything, and the API answers with the version it
    points at; the journal notes both."""
    import urllib.request

    from closedloop.cli.serve import serving

    place = make_place(0, 2)
    turn(place, "month_000")
    turn(place, "month_001")
    loop = place.open()
    rows = prepare(loop.source.read("month_001"), loop.use_case)[list(loop.use_case.columns)].head(
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
        one.decision.version
        for one in loop.journal.history("streamflow")
        if one.decision.kind is Kind.SERVING
    ]
    assert served == [2, 1]


def test_the_disk_does_not_fill_with_reports(
    make_place: Callable[..., Any], turn: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loops never delete: of the drift reports only the newest are kept, and what was measured
    stays."""
    monkeypatch.setenv("CLOSEDLOOP_KEEP_REPORTS", "1")
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
        one.details["run"]
        for one in loop.journal.history("streamflow")
        if one.details.get("drift_share") is not None
    ]
    assert len(runs) == 2
    assert [loop.registry.local_file(run, "drift_report.html") is not None for run in runs] == [
        False,
        True,
    ]
    assert all("drift" in loop.registry.read_run_file(run, "evidence.json") for run in runs)


def test_the_decision_is_shown_in_prefect(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """The Prefect UI gets the decision as a page and a link to the drift report."""
    from prefect.client.orchestration import get_client

    place = make_place(0, 2)
    turn(place, "month_000")
    turn(place, "month_001")
    with get_client(sync_client=True) as client:
        shown = {one.key: one.data for one in client.read_latest_artifacts()}
    assert "month_001" in shown["turn-decision"]
    assert "drift_report.html" in shown["turn-decision"]
    assert "delta on month_001" in shown["promotion-decision"]


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
    answers = bundle.probabilities(rows)
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
    loop.records.append([request])
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
        one for one in place.open().journal.history("streamflow") if one.decision.window == window
    )
    assert entry.details["drift_share"] > 0.3
    assert entry.details["realised_on"] == window


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
    assert entry.details["drift_share"] > 0.3
    assert "enough new labels" in entry.decision.reason


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
    told = loop.journal.history("streamflow")[-1].details
    assert 0.5 < told["estimated_lower"] < told["estimated_auc"] < told["estimated_upper"] < 1
    with get_client(sync_client=True) as client:
        shown = {one.key: one.data for one in client.read_latest_artifacts()}
    assert f"AUC without labels: about {told['estimated_auc']:.2f}" in shown["turn-decision"]
    assert read_status(loop)["without_labels"]["estimated_auc"] == told["estimated_auc"]

    labels.write_text(truth)
    turn(place, "month_002")
    judged = place.open().journal.history("streamflow")[-1].details
    assert judged["realised_on"] == "month_002"
    assert judged["estimated_for_judged"] == told["estimated_auc"]


def test_training_without_any_labels_says_so(make_place: Callable[..., Any]) -> None:
    """Nothing to learn from: one sentence, no traceback of a library."""
    place = make_place(0)
    (place.path.parent / "generated/month_000/labels.csv").write_text("user_id,churn_label\n")
    with pytest.raises(SourceError, match="at least one window with labels"):
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


def test_flipped_labels_do_not_reach_production(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """A month whose classes were swapped is quarantined: production's AUC there is far below its
    last three windows."""
    place = make_place(0, 1, 1, 1, 1, changes={"max_age_windows = 4": "max_age_windows = 100"})
    labels = place.path.parent / "generated/month_004/labels.csv"
    text = labels.read_text()
    labels.write_text(text.replace("True", "x").replace("False", "True").replace("x", "False"))
    for month in ("month_000", "month_004"):
        turn(place, month)
    loop = place.open()
    entry = next(
        one for one in loop.journal.history("streamflow") if one.decision.window == "month_004"
    )
    assert entry.details["quarantined"] is True
    newest = loop.registry.versions()[-1]
    assert "month_004" not in loop.registry.load(newest.version).facts.trained_windows


@pytest.mark.skipif(
    not REAL.is_dir(),
    reason="the real snapshots are not beside this repository (../shared/data/streamflow)",
)
def test_the_same_file_runs_on_the_real_snapshots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """data/streamflow/loop.toml unchanged, CLOSEDLOOP_DATA elsewhere: a first model, a report, a
    decision about month_001."""
    from flows.monitor_flow import monitor_flow

    monkeypatch.setenv("CLOSEDLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("CLOSEDLOOP_DATA", str(REAL))
    path = REPOSITORY / "data/streamflow/loop.toml"
    for month in ("month_000", "month_001"):
        monitor_flow(use_case=str(path), window=month)
    loop = open_loop(path, settings=Settings(home=tmp_path, data=REAL))
    entries = loop.journal.history("streamflow")
    second = next(one for one in entries if one.decision.window == "month_001")
    assert loop.registry.production() == 1
    assert loop.registry.local_file(second.details["run"], "drift_report.html")
    assert second.details["realised_auc"] is not None


def test_three_classes_turn_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Iris: the same flows, macro one-versus-rest, a model in production."""
    import shutil

    from closedloop.use_case.loop_toml import load_use_case
    from closedloop.windows.sources import write_generated
    from closedloop.windows.synthetic import generate_windows
    from flows.monitor_flow import monitor_flow

    monkeypatch.setenv("CLOSEDLOOP_HOME", str(tmp_path / "home"))
    shutil.copytree(
        REPOSITORY / "data/iris", tmp_path / "iris", ignore=shutil.ignore_patterns("generated")
    )
    path = tmp_path / "iris/loop.toml"
    write_generated(load_use_case(path), None, generate_windows("iris", 3))
    loop = open_loop(path, settings=Settings(home=tmp_path / "home"))
    for window in loop.source.windows():
        monitor_flow(use_case=str(path), window=window)
    assert loop.registry.production() is not None
    assert (
        loop.registry.load(loop.registry.production())
        .probabilities(prepare(loop.source.read(loop.source.windows()[-1]), loop.use_case))
        .shape[1]
        == 3
    )


def test_a_turn_needs_nothing_from_its_decorators(make_place: Callable[..., Any]) -> None:
    """Without Prefect's flow around it, a turn is still gather, decide, write: gathering and
    deciding are plain calls."""
    from closedloop.decisions.retraining import decide_retraining

    place = make_place(0)
    history = History(place.open())
    found = gather_turn(history)
    assert decide_retraining(found.evidence, place.open().use_case.policy).action is Action.RETRAIN
