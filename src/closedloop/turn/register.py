"""From the labelled windows to one registered candidate and the evidence about it.

Nothing is decided here. Repeated after a crash, it finds the candidate that was registered under
the same key, with the evidence of the first time.
"""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from closedloop.bundle.files import PROOF_FILE, Facts, Proof, read_proof
from closedloop.bundle.frames import measure_difference, score_frame
from closedloop.bundle.loaded import load_with_pipeline
from closedloop.bundle.onnx_proof import make_awkward_rows, prove
from closedloop.bundle.skops_model import write_facts
from closedloop.bundle.soundness import check_version
from closedloop.decisions.evidence import PromotionEvidence
from closedloop.json_text import read_json
from closedloop.metrics.importance import Compared, Importance, measure_importance
from closedloop.plots.importance import draw_importance
from closedloop.plots.scores import draw_scores
from closedloop.training.recipes import parse_recipe
from closedloop.turn.candidate import (
    Candidate,
    describe_candidate,
    fit_candidate,
    make_evidence,
)
from closedloop.turn.card_facts import CARD_FACTS_FILE, write_training_facts
from closedloop.turn.history import History
from closedloop.turn.open import Loop, read_git_revision
from closedloop.turn.origin import describe_origin
from closedloop.turn.reference_rows import make_reference
from closedloop.turn.run_metrics import describe_comparison
from closedloop.turn.shadow_replay import replay_recorded
from closedloop.use_case.contract import UseCase
from closedloop.use_case.recipe import find_own_modules

_LOG = logging.getLogger("closedloop.turn.register")

EVIDENCE_FILE, IMPORTANCE_FILE = "evidence.json", "importance.json"
SELF_TEST_ROWS, ROWS_OF_A_CLASS = 50, 5


def propose_candidate(history: History[Loop]) -> PromotionEvidence:
    """Fit, compare, refit, package and register one candidate for the current window, once per key.

    Raises SourceError when no window has labels, ModelError when nothing can be fitted,
    RegistryError when MLflow is away.
    """
    registry, key = history.loop.registry, history.promotion_key
    known = registry.find_candidate(key)
    if known is not None:
        return replace(read_evidence(registry.read_file(known, EVIDENCE_FILE)), version=known)
    candidate = fit_candidate(history)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        facts, evidence = package(history, candidate, folder)
        evidence = replace(evidence, shadow=replay_recorded(history, folder))
        return replace(evidence, version=_register(history, candidate, facts, evidence, folder))


def read_evidence(text: str) -> PromotionEvidence:
    """The evidence as `EVIDENCE_FILE` holds it, also when an older version wrote it."""
    content = read_json(text)
    comparison = content["comparison"]
    if comparison is not None and "history" not in comparison:  # registered by an older version
        comparison["history"] = parse_recipe(comparison["recipe"])[1]
    return TypeAdapter(PromotionEvidence).validate_python(content)


def read_importance(text: str) -> Importance:
    """The importance as `IMPORTANCE_FILE` holds it; raises ValueError for anything else."""
    return TypeAdapter(Importance).validate_python(read_json(text))


def _measure_importance(history: History[Loop], candidate: Candidate) -> Importance | None:
    """How much the twin that was judged needs each column, and production on the same rows."""
    use_case, live, judged = history.loop.use_case, history.production, candidate.split.evaluation
    production, compared = candidate.production, None
    if production is not None and live is not None:
        known = {*production.numeric, *production.categorical}
        compared = Compared(live.version, partial(score_frame, production), known)
    return measure_importance(
        judged.frame,
        judged.labels,
        tuple(use_case.columns),
        partial(score_frame, candidate.twin),
        compared,
        window=judged.name,
        seed=use_case.training.seed,
    )


def package(
    history: History[Loop], candidate: Candidate, folder: Path
) -> tuple[Facts, PromotionEvidence]:
    """Write the bundle and try what was written: the proof is about the files that will serve.

    `folder` must not exist yet. Raises ModelError for a model that cannot be packaged.
    """
    use_case, columns = history.loop.use_case, list(history.loop.use_case.columns)
    facts, trained = describe_candidate(history, candidate), candidate.trained
    labels = np.concatenate([window.labels for window in candidate.refitted])
    spread = _choose_self_test(labels)
    self_test = trained[columns].iloc[spread].reset_index(drop=True)
    pipeline = candidate.scorer.pipeline
    answers = pipeline.predict_proba(self_test)
    history.loop.registry.save_model(pipeline, folder, self_test, answers)
    reference = make_reference(history, candidate)
    write_facts(folder, facts, self_test, answers, reference, labels[spread])
    judged = candidate.split.evaluation.frame[columns]
    proof = prove(
        folder,
        pipeline,
        judged,
        use_case,
        use_case.policy.promotion.max_packaging_difference,
    )
    _log_what_serves(facts.recipe, proof)
    packed = load_with_pipeline(folder)
    check_version(packed)  # what another installation would refuse is refused here, too
    tried = pd.concat(
        [judged, make_awkward_rows(judged, use_case.numeric, use_case.categorical)],
        ignore_index=True,
    )
    difference = measure_difference(packed.scorer, candidate.scorer, tried)
    if proof.served_by == "onnx":
        difference = max(difference, proof.difference or 0.0)
    evidence = make_evidence(
        history,
        candidate,
        packed.scorer,
        difference,
        served_by=proof.served_by,
        served_reason=proof.reason,
    )
    return facts, evidence


def _choose_self_test(labels: np.ndarray) -> np.ndarray:
    """Rows spread evenly over all, and over each class, in order."""
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    parts = [np.arange(len(labels)), *classes]
    chosen = [
        part[np.linspace(0, len(part) - 1, min(most, len(part))).astype(int)]
        for part, most in zip(
            parts, [SELF_TEST_ROWS] + [ROWS_OF_A_CLASS] * len(classes), strict=True
        )
    ]
    return np.unique(np.concatenate(chosen))


def _log_what_serves(recipe: str, proof: Proof) -> None:
    if proof.served_by == "onnx":
        _LOG.info(
            "%s answers as ONNX like its pipeline: at most %.2g off on %d rows; %s ms a row",
            recipe,
            proof.difference,
            proof.rows,
            proof.milliseconds,
        )
    else:
        _LOG.warning(
            "%s is served by its pipeline, which is slower, %s ms a row: %s",
            recipe,
            proof.milliseconds,
            proof.reason,
        )


def _register(
    history: History[Loop],
    candidate: Candidate,
    facts: Facts,
    evidence: PromotionEvidence,
    folder: Path,
) -> int:
    """Log everything that was measured, then register the version: the evidence is there first."""
    use_case, registry, chosen = history.loop.use_case, history.loop.registry, candidate.chosen
    picture = draw_scores(
        candidate.split.evaluation.labels,
        candidate.honest_predictions,
        use_case.target.classes,
        chosen.candidate,
        chosen.recipe,
    )
    importance = _measure_importance(history, candidate)
    files: dict[str, str | bytes] = (
        {}
        if importance is None
        else {
            IMPORTANCE_FILE: json.dumps(asdict(importance), indent=1),
            **draw_importance(importance).files("importance"),
        }
    )
    revision = history.loop.settings.revision or read_git_revision(use_case.path.parent)
    run_id = registry.log_run(
        facts.key,
        f"train {history.window}",
        metrics=describe_comparison(chosen, importance),
        folder=folder,
        parameters={
            "recipe": chosen.recipe,
            "windows": ",".join(facts.trained_windows),
            "evaluation_window": chosen.judged_on,
            "rows": facts.rows,
            "seed": use_case.training.seed,
            "policy": use_case.policy.fingerprint,
            **_left_out(evidence),
        },
        tags={"closedloop.kind": "training", "mlflow.source.git.commit": revision},
        data={window.name: window.digest for window in candidate.refitted},
        files={
            EVIDENCE_FILE: json.dumps(asdict(evidence), indent=1),
            "loop.toml": use_case.path.read_text(encoding="utf-8"),
            PROOF_FILE: (folder / PROOF_FILE).read_text(encoding="utf-8"),
            "comparisons.json": json.dumps(
                [asdict(comparison) for comparison in candidate.twins.comparisons], indent=1
            ),
            CARD_FACTS_FILE: write_training_facts(
                candidate, facts.use_case, use_case.fingerprint, revision
            ),
            **picture.files("scores"),
            **files,
            **_own_code(use_case, chosen.recipe),
        },
    )
    tags = {
        "recipe": chosen.recipe,
        "window": history.window,
        "trained_through": facts.trained_windows[-1],
        "served_by": evidence.served_by,
        "ms_a_row": str(read_proof(folder).milliseconds),
        "val_auc": "" if facts.val_auc is None else repr(facts.val_auc),
        "val_auc_error": "" if facts.val_auc_error is None else repr(facts.val_auc_error),
        **describe_origin(facts, use_case, revision, candidate.scorer.fitted_on),
        **({} if facts.measured is None else {"measured": json.dumps(asdict(facts.measured))}),
    }
    return registry.register(facts.key, run_id, tags)


def _own_code(use_case: UseCase, name: str) -> dict[str, bytes]:
    """The modules of an estimator of the user's own, for the run; nothing here reads them again."""
    recipe, home = use_case.recipes.get(parse_recipe(name)[0]), use_case.path.parent
    found = {} if recipe is None else find_own_modules(recipe, home)
    return {f"code/{path.relative_to(home).as_posix()}": text for path, text in found.items()}


def _left_out(evidence: PromotionEvidence) -> dict[str, str]:
    """The windows that were left out, as a parameter; MLflow takes 6,000 characters."""
    named = ",".join(f"{name} ({reason})" for name, reason in evidence.left_out)
    return {"windows_left_out": named[:1000]} if named else {}
