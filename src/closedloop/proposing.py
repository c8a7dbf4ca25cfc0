"""From the labelled windows to one registered candidate and the evidence about it; nothing is decided here.

Repeating it after a crash finds the candidate that was registered under the same key, with the evidence of the first time.
"""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from closedloop.bundle import PROOF_FILE, Facts, Proof
from closedloop.candidates import LabelledWindow, Split, Twins, compare_twins, fit_recipe, probabilities, split_windows
from closedloop.decisions import choose_candidate, is_quarantined
from closedloop.errors import ModelError
from closedloop.evidence import Comparison, GoldenResult, PromotionEvidence
from closedloop.gathering import PREDICTION, TARGET, History, watched_frame
from closedloop.loop import read_git_revision
from closedloop.packaging import measure_difference, read_bundle, write_facts
from closedloop.plots import draw_scores
from closedloop.proving import make_awkward_rows, prove
from closedloop.schema import measure_statistics, prepare
from closedloop.scoring import check_golden, measure_auc
from closedloop.timings import STOPWATCH

_LOG = logging.getLogger("closedloop.proposing")

EVIDENCE_FILE = "evidence.json"
SELF_TEST_ROWS = 50
REFERENCE_ROWS = 20_000


@dataclass(frozen=True)
class Candidate:
    """What was chosen and why: `refitted` are the windows that the pipeline to be shipped was fitted on."""

    split: Split
    twins: Twins
    chosen: Comparison
    pipeline: Any
    refitted: tuple[LabelledWindow, ...]
    quarantined: tuple[str, ...]
    production_error: str | None

    @property
    def honest_predictions(self) -> np.ndarray:
        """The chosen twin's probabilities on the evaluation rows, which it had not seen."""
        return self.twins.predictions[self.chosen.recipe]


def propose_candidate(history: History) -> PromotionEvidence:
    """Fit, compare, refit, package and register one candidate for the current window, once per key.

    Raises SourceError when no window has labels, ModelError when nothing can be fitted, RegistryError when MLflow is away.
    """
    registry, key = history.loop.registry, history.key("promotion")
    known = registry.find_candidate(key)
    if known is not None:
        return replace(TypeAdapter(PromotionEvidence).validate_json(registry.read_file(known, EVIDENCE_FILE)), version=known)
    candidate = _fit(history)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        facts, evidence = _package(history, candidate, folder)
        return replace(evidence, version=_register(history, candidate, facts, evidence, folder))


def _fit(history: History) -> Candidate:
    """Twins on the same rows as production, the choice between them, and the refit of the chosen recipe through the newest labels."""
    use_case, windows = history.loop.use_case, _trainable(history)
    split = split_windows(windows, use_case)
    production, error = _ask_production(history, split)
    with STOPWATCH.measure("fitting"):
        twins = compare_twins(split, production, history.production.recipe if history.production else None, use_case)
    chosen = choose_candidate(twins.comparisons, use_case.policy)
    if chosen is None:
        raise ModelError(where="training", wanted="at least one recipe", got="none", then="name recipes under [training]")
    quarantined = _quarantined_now(history, split, production)
    refitted = tuple(one for one in windows if one.name not in quarantined)
    with STOPWATCH.measure("fitting"):
        pipeline = fit_recipe(chosen.recipe, refitted, max(one.index for one in refitted), use_case)
    return Candidate(split, twins, chosen, pipeline, refitted, tuple(sorted(quarantined)), error)


def _trainable(history: History) -> tuple[LabelledWindow, ...]:
    """Labelled windows whose labels are due, that keep the contract and are not quarantined."""
    kept_out = history.quarantined() - set(history.due[-1:])
    reads = (history.read(name) for name in history.due if name not in kept_out)
    return tuple(one.labelled for one in reads if not one.violations and len(one.labelled.labels))


def _ask_production(history: History, split: Split) -> tuple[np.ndarray | None, str | None]:
    """Production's probabilities on the evaluation rows, or why there are none.

    When production has been trained on those rows, its recipe is refitted without them: two recipes are then compared, both on
    rows that are new to them.
    """
    live, use_case = history.production, history.loop.use_case
    if live is None:
        return None, None
    fitted_through = history.place(live.trained_through)
    if fitted_through is not None and split.evaluation.index <= fitted_through:
        with STOPWATCH.measure("fitting"):
            twin = fit_recipe(live.recipe, split.history, split.evaluation.index, use_case)
            return probabilities(twin, split.evaluation.frame, use_case), None
    if history.bundle is None:
        return None, history.production_error
    with STOPWATCH.measure("scoring"):
        return history.bundle.probabilities(split.evaluation.frame), None


def _quarantined_now(history: History, split: Split, production: np.ndarray | None) -> set[str]:
    """The evaluation window, when production does so badly on it that its labels are suspect."""
    if production is None or split.held_out:
        return set()
    auc = measure_auc(split.evaluation.labels, production)
    earlier = history.realised_before(split.evaluation.name)
    bad = auc is not None and is_quarantined(auc, earlier, history.loop.use_case.policy.quarantine)
    return {split.evaluation.name} if bad else set()


def _package(history: History, candidate: Candidate, folder: Path) -> tuple[Facts, PromotionEvidence]:
    """Write the bundle, and try what was written: the proof is about the files that will be served."""
    use_case, chosen, columns = history.loop.use_case, candidate.chosen, list(history.loop.use_case.columns)
    with STOPWATCH.measure("data"):
        trained = pd.concat([one.frame for one in candidate.refitted], ignore_index=True)
        statistics = measure_statistics(trained, use_case)
    facts = Facts(
        name=use_case.name, key=history.key("promotion"), recipe=chosen.recipe, classes=use_case.target.classes,
        trained_windows=tuple(one.name for one in candidate.refitted), evaluation_window=chosen.window, val_auc=chosen.candidate.val_auc,
        statistics=statistics, use_case={name: value for name, value in use_case.content.items() if name != "golden"},
        rows=len(trained), data_digest="-".join(one.digest[:12] for one in candidate.refitted),
    )  # fmt: skip
    spread = np.linspace(0, len(trained) - 1, min(SELF_TEST_ROWS, len(trained))).astype(int)
    self_test = trained[columns].iloc[spread].reset_index(drop=True)
    with STOPWATCH.measure("scoring"):
        answers = candidate.pipeline.predict_proba(self_test)
    with STOPWATCH.measure("packaging"):
        history.loop.registry.save_model(candidate.pipeline, folder, self_test, answers)
        write_facts(folder, facts, self_test, answers, _reference(history, candidate))
        judged = candidate.split.evaluation.frame[columns]
        with STOPWATCH.measure("scoring"):
            proof = prove(folder, candidate.pipeline, judged, use_case, use_case.policy.promotion.max_packaging_difference)
        _say_what_serves(chosen.recipe, proof)
        bundle = read_bundle(folder)
    with STOPWATCH.measure("scoring"):
        tried = pd.concat([judged, make_awkward_rows(judged, use_case.numeric, use_case.categorical)], ignore_index=True)
        difference = measure_difference(bundle, candidate.pipeline, tried)
        evidence = PromotionEvidence(
            window=history.read(history.window).facts, version=None, production=history.production.version if history.production else None,
            comparison=chosen, packaging_difference=max(difference, proof.difference or 0.0) if proof.served_by == "onnx" else difference,
            golden=_check_golden(history, bundle), quarantined=candidate.quarantined, production_error=candidate.production_error,
            served_by=proof.served_by, served_reason=proof.reason,
        )  # fmt: skip
    return facts, evidence


def _say_what_serves(recipe: str, proof: Proof) -> None:
    if proof.served_by == "onnx":
        _LOG.info("%s answers as ONNX like its pipeline: at most %.2g off on %d rows", recipe, proof.difference, proof.rows)
    else:
        _LOG.warning("%s is served by its pipeline, which is slower: %s", recipe, proof.reason)


def _register(history: History, candidate: Candidate, facts: Facts, evidence: PromotionEvidence, folder: Path) -> int:
    """Log everything that was measured, then register the version; the evidence is there before the version is."""
    use_case, registry, chosen = history.loop.use_case, history.loop.registry, candidate.chosen
    with STOPWATCH.measure("scoring"):
        picture = draw_scores(candidate.split.evaluation.labels, candidate.honest_predictions, use_case.target.classes, chosen)
    with STOPWATCH.measure("mlflow logging"):
        run_id = registry.log_run(
            facts.key, f"train {history.window}", metrics=_metrics(chosen), folder=folder,
            parameters={"recipe": chosen.recipe, "windows": ",".join(facts.trained_windows), "evaluation_window": chosen.window,
                        "rows": facts.rows, "seed": use_case.training.seed, "policy": use_case.policy.fingerprint},
            tags={"closedloop.kind": "training", "mlflow.source.git.commit": read_git_revision(use_case.path.parent)},
            data={one.name: one.digest for one in candidate.refitted},
            files={EVIDENCE_FILE: json.dumps(asdict(evidence), indent=1), "loop.toml": use_case.path.read_text(encoding="utf-8"),
                   PROOF_FILE: (folder / PROOF_FILE).read_text(encoding="utf-8"),
                   "comparisons.json": json.dumps([asdict(one) for one in candidate.twins.comparisons], indent=1), "scores.png": picture},
        )  # fmt: skip
        tags = {"recipe": chosen.recipe, "window": history.window, "trained_through": facts.trained_windows[-1],
                "served_by": evidence.served_by,
                "val_auc": "" if facts.val_auc is None else repr(facts.val_auc)}  # fmt: skip
        return registry.register(facts.key, run_id, tags)


def _reference(history: History, candidate: Candidate) -> pd.DataFrame:
    """A bounded sample of the training rows. Predictions are the twin's on the evaluation rows, which it had not seen: what a model
    says of its own training rows is too sure of itself to be held against what it says of new ones."""
    parts, judged = [], candidate.split.evaluation
    for one in candidate.refitted:
        frame = watched_frame(one.frame, None, history)
        if one.name == judged.name:
            seen = watched_frame(judged.frame, candidate.honest_predictions, history)
            frame.loc[frame.index.isin(seen.index), PREDICTION] = seen[PREDICTION].to_numpy()
        parts.append(frame)
    whole = pd.concat(parts, ignore_index=True)
    if len(whole) > REFERENCE_ROWS:
        whole = whole.sample(REFERENCE_ROWS, random_state=history.loop.use_case.training.seed).reset_index(drop=True)
    return whole.drop(columns=[TARGET]) if whole[TARGET].isna().all() else whole


def _check_golden(history: History, bundle: Any) -> tuple[GoldenResult, ...]:
    use_case = history.loop.use_case
    if not use_case.golden:
        return ()
    rows = prepare(pd.DataFrame([case.row for case in use_case.golden]), use_case)
    return check_golden(use_case.golden, bundle.probabilities(rows), use_case.target.classes)


def _metrics(chosen: Comparison) -> dict[str, float]:
    """The candidate's numbers as MLflow metrics; what could not be measured is left out."""
    scores = chosen.candidate
    found: dict[str, float | None] = {
        "val_auc": scores.val_auc, "accuracy": scores.accuracy, "f1": scores.f1, "log_loss": scores.log_loss, "brier": scores.brier,
        "baseline_auc": chosen.baseline_auc, "production_val_auc": chosen.production.val_auc if chosen.production else None,
    }  # fmt: skip
    for one in scores.classes:
        found |= {f"precision_{one.label}": one.precision, f"recall_{one.label}": one.recall, f"f1_{one.label}": one.f1}
    for name, delta in [("delta", chosen.delta), *((f"delta_{one.name}", one.delta) for one in chosen.slices)]:
        if delta is not None:
            found |= {name: delta.value, f"{name}_lower": delta.lower, f"{name}_upper": delta.upper}
    return {_metric_name(name): value for name, value in found.items() if value is not None}


def _metric_name(name: str) -> str:
    """MLflow allows letters, digits and a few signs in names."""
    return "".join(sign if sign.isalnum() or sign in "_-. /" else "_" for sign in name)
