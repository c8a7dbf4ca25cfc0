"""What a turn keeps in MLflow of what it measured: evidence, Evidently's page, distributions."""

from __future__ import annotations

import json
from dataclasses import asdict

from closedloop.decisions.drift_report import DriftReport
from closedloop.registry.runs import HAS_FILE, REPORT
from closedloop.storage.details import RunFacts
from closedloop.turn.distributions import (
    DISTRIBUTIONS_FILE,
    Distributions,
    summarise,
    write_distributions,
)
from closedloop.turn.history import History
from closedloop.turn.observe import Observation
from closedloop.turn.open import Loop
from closedloop.turn.watched_columns import PREDICTION
from closedloop.turn.window_drift import find_reference, watched_frame

TURN_EVIDENCE_FILE = "evidence.json"


def keep_evidence(history: History[Loop], seen: Observation) -> RunFacts:
    """Log what was measured, once for the same data; returns where it is.

    Evidently's page takes longer than the rest of a turn, so by default it is drawn only when a
    column drifted. Only the newest of them are kept.
    """
    registry, details = history.loop.registry, seen.details
    report = seen.draw_page() if seen.draw_page and _is_shown(history, seen) else None
    found = {
        "drift_share": details.drift.drift_share if details.drift else None,
        "realised_auc": details.realised.realised_auc if details.realised else None,
        "estimated_auc": details.estimate.estimated_auc if details.estimate else None,
    }
    files: dict[str, str | bytes] = {
        TURN_EVIDENCE_FILE: json.dumps(asdict(seen.evidence), indent=1),
        **({REPORT: report} if report else {}),
    }
    if seen.evidence.drift is not None:
        shown = summarise_watched(history, seen.evidence.drift)
        files[DISTRIBUTIONS_FILE] = write_distributions(shown)
    run_id = registry.log_run(
        history.key("retraining"),
        f"monitor {history.window}",
        metrics={name: value for name, value in found.items() if value is not None},
        parameters={"window": history.window},
        tags={"closedloop.kind": "monitoring", **({HAS_FILE: REPORT} if report else {})},
        data={history.window: history.read(history.window).facts.digest},
        files=files,
    )
    registry.drop_files(REPORT, keep=history.loop.settings.keep_reports)
    page = registry.run_link(run_id, history.loop.mlflow_ui)
    return RunFacts(run_id, f"{page}/{REPORT}" if report else page)


def _is_shown(history: History[Loop], seen: Observation) -> bool:
    drift = seen.evidence.drift
    every = history.loop.settings.report_windows == "all"
    return drift is not None and (every or bool(drift.drifted_columns))


def summarise_watched(history: History[Loop], drift: DriftReport) -> Distributions:
    """The two sides that drift was measured on, those nearest to their limit or beyond it first.

    Needs a production model that loads.
    """
    use_case = history.loop.use_case
    read = history.read(history.window)
    current = watched_frame(read.prepared, history.answers(history.window), history)
    numeric = {*use_case.numeric, *([PREDICTION] if len(use_case.target.classes) == 2 else [])}
    nearness = {
        column.column: (column.score or 0.0) / (column.limit or 1.0) for column in drift.columns
    }
    return summarise(
        find_reference(history, history.window).rows,
        current,
        sorted(nearness, key=lambda name: -nearness[name]),
        numeric,
        (drift.reference, drift.current),
    )
