"""From the labelled windows to one registered candidate and the evidence about it; nothing is decided here.

Repeating it after a crash finds the candidate that was registered under the same key, with the evidence of the first time.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from closedloop.candidates import LabelledWindow, Split, Twins, compare_twins, fit_recipe, probabilities, split_windows
from closedloop.decisions import choose_candidate, is_quarantined
from closedloop.errors import ModelError
from closedloop.evidence import (
    ClassScores,
    Comparison,
    Estimate,
    GoldenResult,
    PromotionEvidence,
    Scores,
    SliceDelta,
    Window,
)
from closedloop.gathering import PREDICTION, TARGET, History, watched_frame
from closedloop.loop import read_git_revision
from closedloop.packaging import Facts, measure_difference, read_bundle, write_facts
from closedloop.plots import draw_scores
from closedloop.schema import MISSING, measure_statistics, prepare
from closedloop.scoring import check_golden, measure_auc
from closedloop.timings import STOPWATCH

SELF_TEST_ROWS = 50
REFERENCE_ROWS = 20_000


def propose_candidate(history: History) -> PromotionEvidence:
    """Fit, compare, refit, package and register one candidate for the current window, once per key.

    Raises SourceError when no window has labels, ModelError when nothing can be fitted, RegistryError when MLflow is away.
    """
    registry, key = history.loop.registry, history.key("promotion")
    known = registry.find_candidate(key)
    if known is not None:
        return _evidence_from_json(json.loads(registry.read_file(known, "evidence.json")), known)

    windows = _trainable(history)
    split = split_windows(windows, history.loop.use_case)
    production, error = _ask_production(history, split)
    with STOPWATCH.measure("fitting"):
        twins = compare_twins(split, production, history.production.recipe if history.production else None, history.loop.use_case)
    chosen = choose_candidate(twins.comparisons, history.loop.use_case.policy)
    if chosen is None:
        raise ModelError(where="training", wanted="at least one recipe", got="none", then="name recipes under [training]")
    quarantined = _quarantined_now(history, split, production)
    refitted = tuple(one for one in windows if one.name not in quarantined)
    with STOPWATCH.measure("fitting"):
        pipeline = fit_recipe(chosen.recipe, refitted, max(one.index for one in refitted), history.loop.use_case)
    return _package_and_register(history, split, twins, chosen, pipeline, refitted, tuple(sorted(quarantined)), error)


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


def _package_and_register(history: History, split: Split, twins: Twins, chosen: Comparison, pipeline: Any,
                          refitted: tuple[LabelledWindow, ...], quarantined: tuple[str, ...], error: str | None) -> PromotionEvidence:  # fmt: skip
    use_case, registry, key = history.loop.use_case, history.loop.registry, history.key("promotion")
    columns = list(use_case.columns)
    trained = pd.concat([one.frame for one in refitted], ignore_index=True)
    facts = Facts(
        name=use_case.name, key=key, recipe=chosen.recipe, classes=use_case.target.classes, trained_windows=tuple(one.name for one in refitted),
        evaluation_window=chosen.window, val_auc=chosen.candidate.val_auc, statistics=measure_statistics(trained, use_case),
        use_case={name: value for name, value in use_case.content.items() if name != "golden"}, rows=len(trained),
        data_digest="-".join(one.digest[:12] for one in refitted),
    )  # fmt: skip
    self_test = (
        trained[columns].iloc[np.linspace(0, len(trained) - 1, min(SELF_TEST_ROWS, len(trained))).astype(int)].reset_index(drop=True)
    )
    with tempfile.TemporaryDirectory() as temporary, STOPWATCH.measure("packaging"):
        folder = Path(temporary) / "model"
        registry.save_model(pipeline, folder, self_test)
        write_facts(folder, facts, self_test, pipeline.predict_proba(self_test), _reference(history, split, twins, chosen, refitted))
        bundle = read_bundle(folder)
        rows = pd.concat(
            [split.evaluation.frame[columns], _awkward_rows(self_test, use_case.numeric, use_case.categorical)], ignore_index=True
        )
        golden = _check_golden(history, bundle)
        evidence = PromotionEvidence(
            window=history.read(history.window).facts, version=None, production=history.production.version if history.production else None,
            comparison=chosen, packaging_difference=measure_difference(bundle, pipeline, rows), golden=golden,
            quarantined=quarantined, production_error=error,
        )  # fmt: skip
        with STOPWATCH.measure("mlflow logging"):
            run_id = registry.log_run(
                key, f"train {history.window}", metrics=_metrics(chosen), folder=folder,
                parameters={"recipe": chosen.recipe, "windows": ",".join(facts.trained_windows), "evaluation_window": chosen.window,
                            "rows": facts.rows, "seed": use_case.training.seed, "policy": use_case.policy.fingerprint},
                tags={"closedloop.kind": "training", "mlflow.source.git.commit": read_git_revision(use_case.path.parent)},
                data={one.name: one.digest for one in refitted},
                files={"evidence.json": json.dumps(asdict(evidence), indent=1), "loop.toml": use_case.path.read_text(encoding="utf-8"),
                       "comparisons.json": json.dumps([asdict(one) for one in twins.comparisons], indent=1),
                       **draw_scores(split.evaluation.labels, twins.predictions[chosen.recipe], use_case.target.classes, chosen)},
            )  # fmt: skip
            version = registry.register(key, run_id, folder, {
                "recipe": chosen.recipe, "window": history.window, "trained_through": refitted[-1].name,
                "val_auc": "" if facts.val_auc is None else repr(facts.val_auc),
            })  # fmt: skip
    return PromotionEvidence(**{**evidence.__dict__, "version": version})


def _reference(history: History, split: Split, twins: Twins, chosen: Comparison, refitted: tuple[LabelledWindow, ...]) -> pd.DataFrame:
    """A bounded sample of the training rows. Predictions are the twin's on the evaluation rows, which it had not seen: what a model
    says of its own training rows is too sure of itself to be held against what it says of new ones."""
    parts = []
    for one in refitted:
        frame = watched_frame(one.frame, None, history)
        if one.name == split.evaluation.name and not split.held_out:
            frame = watched_frame(one.frame, twins.predictions[chosen.recipe], history)
        elif one.name == split.evaluation.name:
            judged = one.frame.index.isin(split.evaluation.frame.index)
            frame.loc[judged, PREDICTION] = watched_frame(split.evaluation.frame, twins.predictions[chosen.recipe], history)[
                PREDICTION
            ].to_numpy()
        parts.append(frame)
    whole = pd.concat(parts, ignore_index=True)
    if len(whole) > REFERENCE_ROWS:
        whole = whole.sample(REFERENCE_ROWS, random_state=history.loop.use_case.training.seed).reset_index(drop=True)
    return whole.drop(columns=[TARGET]) if whole[TARGET].isna().all() else whole


def _awkward_rows(rows: pd.DataFrame, numeric: tuple[str, ...], categorical: tuple[str, ...]) -> pd.DataFrame:
    """Rows that serving will meet and training did not: everything missing, unseen categories, extremes."""
    few = rows.head(4).copy()
    for place, value in enumerate((np.nan, 0.0, -1e6, 1e6)[: len(few)]):
        for name in numeric:
            few.loc[few.index[place], name] = value
    for place, text in enumerate((MISSING, "(never seen)", "", MISSING)[: len(few)]):
        for name in categorical:
            few.loc[few.index[place], name] = text
    return few


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


def _evidence_from_json(content: dict[str, Any], version: int) -> PromotionEvidence:
    """What `asdict` wrote, read back."""

    def estimate(one: dict[str, Any] | None) -> Estimate | None:
        return None if one is None else Estimate(**one)

    def scores(one: dict[str, Any] | None) -> Scores | None:
        if one is None:
            return None
        lists = {
            "classes": tuple(ClassScores(**each) for each in one["classes"]),
            "confusion": tuple(tuple(row) for row in one["confusion"]),
        }
        return Scores(**{**one, **lists})

    compared, comparison = content["comparison"], None
    if compared is not None:
        candidate = scores(compared["candidate"])
        assert candidate is not None
        slices = tuple(SliceDelta(**{**each, "delta": estimate(each["delta"])}) for each in compared["slices"])
        parts = {
            "candidate": candidate,
            "production": scores(compared["production"]),
            "delta": estimate(compared["delta"]),
            "slices": slices,
        }
        comparison = Comparison(**{**compared, **parts})
    window = Window(
        **{**content["window"], "labels_per_class": tuple((label, count) for label, count in content["window"]["labels_per_class"])}
    )
    golden = tuple(GoldenResult(**one) for one in content["golden"])
    return PromotionEvidence(**{**content, "window": window, "comparison": comparison, "golden": golden,
                                "quarantined": tuple(content["quarantined"]), "version": version})  # fmt: skip
