"""What /metrics says of scores and features: the spread of the probabilities, missing and unseen
values, and which model it was."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from api.metrics.families import Families
from api.metrics.features import ScoreHistogram
from api.metrics.service import Metrics
from closedloop.bundle.loaded import LoadedVersion
from closedloop.records.queue import RecordQueue
from tests.house.tree import ROOT

Service = Any  # tests/api/conftest.py
ROW: dict[str, Any] = {"monthly spend": 20.5, "visits": 3, "plan": "gold", "returning": True}
BOUNDS = [tenth / 10 for tenth in range(1, 11)]
# A worker that answers so many rows with a bundle, and prints the metrics of all workers.
WORKER = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from api.metrics.service import Metrics
from api.model.answer import LoadedModel
from api.model.live import Production
from closedloop.storage.engine import open_engine
from closedloop.bundle.loaded import load_with_pipeline
from closedloop.records.queue import RecordQueue
from closedloop.records.store import Records
bundle, rows, row = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
production = Production()
production.current = LoadedModel(int(sys.argv[4]), load_with_pipeline(bundle), datetime.now(UTC))
metrics = Metrics(
    production, RecordQueue(Records(open_engine("sqlite:///records.db"))), sys.argv[5]
)
read = production.current.reader.read(json.dumps({"rows": [row] * rows}).encode(), 1000)
metrics.features.count(production.current.answer(read))
print(metrics.render().decode())
"""


def with_statistics(bundle: LoadedVersion, **features: Any) -> LoadedVersion:
    return replace(bundle, facts=replace(bundle.facts, statistics=features))


@pytest.mark.parametrize("number", [0, 1, 6, 7, 5000])
def test_many_values_at_once_are_as_each_by_itself(number: int) -> None:
    """Buckets, count and sum are those of Prometheus' own histogram, on its bounds too."""
    values = (
        [*np.random.default_rng(number).random(number).tolist(), 0.0, 0.1, 0.3, 1.0, 1.0000001][
            -number:
        ]
        if number
        else []
    )
    at_once, other = CollectorRegistry(), CollectorRegistry()
    ours, theirs = (
        ScoreHistogram("score", "as it says", ["class"], buckets=BOUNDS, registry=each).labels(
            "yes"
        )
        for each in (at_once, other)
    )
    ours.observe_many(values)
    for value in values:
        theirs.observe(value)

    def read(registry: CollectorRegistry) -> dict[str, float]:
        lines = [
            line.rsplit(" ", 1)
            for line in generate_latest(registry).decode().splitlines()
            if line[0] != "#" and "_created" not in line
        ]
        return {name: float(value) for name, value in lines}

    assert read(at_once) == pytest.approx(read(other))


@pytest.mark.parametrize("number", [1, 40, 1000])
def test_every_answered_row_is_in_the_distribution_of_each_class(
    service: Service, number: int
) -> None:
    """For one row, some, and so many that a thread counts them: buckets and counts are those of the
    probabilities that were answered."""
    rows = [
        {**ROW, "monthly spend": 10.0 * place, "plan": ["gold", "basic"][place % 2]}
        for place in range(number)
    ]
    answers = [prediction["probabilities"] for prediction in service.predict(*rows)["predictions"]]
    for label in ("False", "True"):
        scores = np.array([probabilities[label] for probabilities in answers])
        name = "closedloop_prediction_probability"
        assert service.metric(f'{name}_count{{class="{label}"}}') == number
        assert service.metric(f'{name}_sum{{class="{label}"}}') == pytest.approx(scores.sum())
        for bound in BOUNDS:
            assert (
                service.metric(f'{name}_bucket{{class="{label}",le="{bound}"}}')
                == (scores <= bound).sum()
            )


@pytest.mark.parametrize("times", [1, 20])
def test_missing_and_unseen_values_are_counted_for_each_feature(
    empty_service: Service, times: int
) -> None:
    """Nulls in any spelling, and categories that neither the contract nor the training rows know,
    each under its feature."""
    shares = {"null_rate": 0.5, "shares": {"True": 0.25, "False": 0.25}}
    empty_service.versions.bundles[1] = with_statistics(
        empty_service.versions.bundles[1], returning=shares
    )
    empty_service.promote(1)
    odd = [
        {"visits": None},
        {"visits": None, "plan": None},
        {"plan": " n/a "},
        {"plan": "silver"},
        {"plan": " GOLD "},
        {"returning": "maybe"},
        {"returning": False},
        {"returning": None},
    ]
    for _ in range(2):  # the second time from what was remembered
        empty_service.predict(*[{**ROW, **values} for values in odd] * times)
    found = {
        (what, name): empty_service.metric(f'closedloop_feature_{what}_total{{feature="{name}"}}')
        for what in ("missing", "unseen")
        for name in ROW
    }
    assert found == {
        ("missing", "monthly spend"): 0,
        ("missing", "visits"): 4 * times,
        ("missing", "plan"): 4 * times,
        ("missing", "returning"): 2 * times,
        ("unseen", "monthly spend"): None,
        ("unseen", "visits"): None,
        ("unseen", "plan"): 2 * times,
        ("unseen", "returning"): 2 * times,
    }


@pytest.mark.parametrize(
    "statistics", [{}, {"returning": {"null_rate": 0.0, "shares": {"True": 0.5, "False": 0.4}}}]
)
def test_what_training_saw_in_part_is_not_called_unseen(
    empty_service: Service, statistics: dict[str, Any]
) -> None:
    """Without the full list of training categories there is no series, rather than a wrong one."""
    empty_service.versions.bundles[1] = with_statistics(
        empty_service.versions.bundles[1], **statistics
    )
    empty_service.promote(1)
    empty_service.predict({**ROW, "returning": "maybe"})
    assert empty_service.metric('closedloop_feature_unseen_total{feature="returning"}') is None
    assert empty_service.metric('closedloop_feature_unseen_total{feature="plan"}') == 0


def test_a_model_of_a_single_feature_is_watched(
    make_bundle: Callable[..., LoadedVersion], empty_service: Service
) -> None:
    """A model of a single column is counted like any other."""
    from tests.api.conftest import CONTENT

    content = {**CONTENT, "columns": {"visits": {"type": "numeric"}}}
    empty_service.versions.bundles[1] = make_bundle("single", content=content)
    empty_service.promote(1)
    empty_service.predict({"visits": None}, {"visits": 3.0}, {"visits": None})
    assert empty_service.metric('closedloop_feature_missing_total{feature="visits"}') == 2


def test_the_model_that_answers_is_described(service: Service) -> None:
    """1 for what is live with its recipe, last training window and what computes it; 0 for what it
    replaced."""
    named = (
        'closedloop_model_info{{recipe="logistic/all",served_by="pipeline",'
        'version="{}",window="w1"}}'
    )
    assert service.metric(named.format(1)) == 1
    service.promote(2)
    assert (service.metric(named.format(1)), service.metric(named.format(2))) == (0, 1)


@pytest.mark.usefixtures("bundles")
def test_workers_add_up(bundle_folder: Path, tmp_path: Path) -> None:
    """Two processes that share a folder of metrics are one service: rows and nulls of both, the
    model of the one that lives."""
    (tmp_path / "shared").mkdir()
    environment = {
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "shared"),
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
    }
    row = '{"monthly spend": null, "visits": 3, "plan": "silver", "returning": true}'
    for version, rows in (("1", "2"), ("2", "40")):
        command = [
            sys.executable,
            "-c",
            WORKER,
            str(bundle_folder / "1"),
            rows,
            row,
            version,
            "shop",
        ]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    said = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines() if line and line[0] != "#")
    assert said['closedloop_prediction_probability_count{class="True",use_case="shop"}'] == "42.0"
    assert (
        said['closedloop_prediction_probability_bucket{class="True",le="1.0",use_case="shop"}']
        == "42.0"
    )
    assert (
        said['closedloop_feature_missing_total{feature="monthly spend",use_case="shop"}'] == "42.0"
    )
    assert said['closedloop_feature_unseen_total{feature="plan",use_case="shop"}'] == "42.0"
    assert [
        name
        for name in said
        if name.startswith("closedloop_model_info")
        and 'version="2"' in name
        and said[name] == "1.0"
    ]
    assert not [
        name for name in said if name.startswith("closedloop_model_info") and 'version="1"' in name
    ]


def test_use_cases_of_one_process_are_counted_apart(service: Service) -> None:
    """Two that share the families of a process have the same metrics, each its own numbers, also of
    the same version, class and feature."""
    families = Families()
    both = [
        Metrics(service.production, RecordQueue(service.records), name, families)
        for name in ("shop", "shop-2")
    ]
    model = service.production.current
    rows = model.reader.read(b'{"rows": [%s]}' % json.dumps(ROW).encode(), 10)
    for metrics, times in zip(both, (1, 2), strict=True):
        for _ in range(times):
            metrics.count_request("/predict", 200, 0.01)
            metrics.features.count(model.answer(rows))
            metrics.rows_predicted(1, "True").inc()
        metrics.labels.inc(times)
    for metrics in both:
        metrics.refresh()
    said = both[0].render().decode().splitlines()
    for name, times in (("shop", "1.0"), ("shop-2", "2.0")):
        case = f'use_case="{name}"'
        assert f'closedloop_requests_total{{route="/predict",status="200",{case}}} {times}' in said
        assert (
            f'closedloop_predictions_total{{prediction="True",{case},version="1"}} {times}' in said
        )
        assert f'closedloop_prediction_probability_count{{class="True",{case}}} {times}' in said
        assert f"closedloop_labels_total{{{case}}} {times}" in said
        assert f"closedloop_model_version{{{case}}} 1.0" in said
