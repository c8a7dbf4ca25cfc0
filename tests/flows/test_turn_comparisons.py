"""What a turn compares: models on the same rows, which are new to both."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from closedloop.bundle.frames import measure_difference, score_frame
from closedloop.turn.history import History
from closedloop.windows.prepare import prepare
from tests.flows.conftest import Campaign

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]

REPOSITORY = Path(__file__).resolve().parents[2]
REAL = REPOSITORY.parent / "shared/data/streamflow"


def test_the_first_model_is_judged_on_rows_it_was_not_fitted_on(campaign: Campaign) -> None:
    """With one window only, the evaluation rows are held out of the twin, and the version that is
    shipped is in production."""
    assert campaign.first == [("retraining", "retrain"), ("promotion", "promote")]
    loop = campaign.place.open()
    assert loop.registry.version(1).status == "archived"
    evidence = json.loads(loop.registry.read_file(1, "evidence.json"))
    assert evidence["comparison"]["held_out"] is True
    assert evidence["comparison"]["candidate"]["rows"] < 0.4 * loop.registry.load(1).facts.rows


def test_the_first_model_is_proved_as_onnx(campaign: Campaign) -> None:
    """The version says what serves it, the proof is with its run and in its bundle, and the
    decision rests on the larger difference."""
    from closedloop.bundle.files import read_proof
    from closedloop.bundle.loaded import load_version

    loop = campaign.place.open()
    bundle = loop.registry.load(1)
    proof = json.loads(loop.registry.read_file(1, "proof.json"))
    evidence = json.loads(loop.registry.read_file(1, "evidence.json"))
    folder = loop.registry.download(1)
    assert proof == asdict(read_proof(folder))
    assert proof["served_by"] == evidence["served_by"] == "onnx"
    assert proof["difference"] <= evidence["packaging_difference"] < 1e-6
    assert loop.registry.version(1).served_by == "onnx"
    rows = prepare(loop.source.read("month_000"), loop.use_case)
    scorer = load_version(folder).scorer
    assert (scorer.served_by, bundle.scorer.served_by) == ("onnx", "pipeline")
    assert measure_difference(scorer, bundle.scorer, rows) < 1e-6


def test_the_champions_score_is_its_own(campaign: Campaign) -> None:
    """The champion's score is not taken from the challenger, and not the one logged when it was
    promoted, perhaps on an easy window: it is what the registered model says of the evaluation
    rows."""
    from closedloop.metrics.auc import measure_auc

    loop = campaign.place.open()
    compared = json.loads(loop.registry.read_file(2, "evidence.json"))["comparison"]
    rows = History(loop, "month_002").read("month_002").labelled
    assert compared["production"]["val_auc"] == pytest.approx(
        measure_auc(rows.labels, score_frame(loop.registry.load(1).scorer, rows.frame))
    )
    assert compared["production"]["val_auc"] != compared["candidate"]["val_auc"]
    assert compared["production"]["rows"] == compared["candidate"]["rows"] == len(rows.labels)
    assert compared["production"]["window"] == "month_002"
    assert abs(compared["production"]["val_auc"] - (loop.registry.version(1).val_auc or 0)) > 0.005


@pytest.mark.nightly
def test_another_measure_decides_where_the_policy_says_so(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """The delta, the reason and what losses are measured against are in average precision; val_auc
    is still measured, and in every place where it was. A chosen threshold is kept, and told."""
    changes = {
        'measure = "roc_auc"': 'measure = "average_precision"',
        "[policy.promotion] ": '[decision]\nchoose = "f1"\n\n[policy.promotion] ',
    }
    place = make_place(0, 1, 2, changes=changes)
    turn(place, "month_000")
    turn(place, "month_002")
    loop = place.open()
    version = loop.registry.version(2)
    evidence = json.loads(loop.registry.read_file(2, "evidence.json"))
    compared, measured = evidence["comparison"], version.measured
    assert measured is not None
    assert asdict(measured) == compared["candidate"]["measured"]
    assert evidence["expected"] == asdict(loop.registry.version(1).measured)
    logged = loop.registry._client.get_run(version.run_id).data.metrics
    assert logged["average_precision"] == measured.value
    assert logged["val_auc"] == version.val_auc == compared["candidate"]["val_auc"]
    assert logged["delta"] == pytest.approx(
        measured.value - compared["production"]["measured"]["value"]
    )
    assert loop.registry.load(2).facts.measured == measured
    retraining, promotion = loop.journal.history(loop.use_case.name)[-2:]
    checks = {check.claim: check.got for check in retraining.decision.checks}
    assert "by chance up to" in checks["realised average precision fell by more than its limit"]
    reason = promotion.decision.reason
    assert "version 1 on the same rows: average precision " in reason
    threshold = loop.registry.load(2).facts.threshold
    assert 0 < threshold == compared["threshold"] < 1
    told = {check.claim: check.got for check in promotion.decision.checks}
    assert told["probability from which True is answered"].startswith(f"{threshold:.4f}, precision")


@pytest.mark.nightly
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
    assert entry.turn.realised is None
    assert "enough new labels" in [
        check.claim for check in entry.decision.checks if check.outcome == "fails"
    ]
