"""What stands in the sections of a model card, in the words and numbers of `closedloop why`."""

from __future__ import annotations

from collections.abc import Sequence

from closedloop.decisions.deciding_measure import MEASURES, Measure
from closedloop.decisions.evidence import Comparison, PromotionEvidence, Scores
from closedloop.metrics.importance import Importance, tell_importance
from closedloop.registry.versions import VersionFacts
from closedloop.storage.entry import Entry
from closedloop.turn.card_facts import TrainingFacts
from closedloop.turn.card_page import Section
from closedloop.turn.class_scores import CLASS_HEAD, tell_auc, tell_classes
from closedloop.use_case.contract import Column, UseCase

_NOT_KEPT = ("not kept: the release of closedloop that made this version did not write it down",)
_MOST_COLUMNS = 30


def tell_use(use_case: UseCase) -> Section:
    """What people say, from the loop.toml of today: a limit found later holds for old versions."""
    card = use_case.card
    asked = {
        "intended use": card.intended_use,
        "limits": card.limits,
        "contact": card.contact,
    }
    texts = [text or "nobody wrote it: [card] in loop.toml" for text in asked.values()]
    return Section(
        "What it is for",
        (use_case.description,) if use_case.description else (),
        ("", "as people say"),
        tuple(zip(asked, texts, strict=True)),
    )


def tell_decision(entry: Entry) -> Section:
    """A decision about the promotion with its reason and every check."""
    decision = entry.decision
    lost = f" It was superseded: {entry.note}" if entry.outcome == "superseded" else ""
    return Section(
        f"Decision {entry.id}: {decision.action.value}",
        (
            f"{entry.at:%Y-%m-%d}, {decision.window}, by the {entry.origin.value}.{lost}",
            decision.reason,
        ),
        ("role", "check", "answer", "condition", "got"),
        tuple(
            (check.role.value, check.claim, check.answer, check.wanted, check.got)
            for check in decision.checks
        ),
    )


def tell_data(facts: TrainingFacts | None, evidence: PromotionEvidence | None) -> Section:
    """The windows that it learned from and was judged on, and those that were left out."""
    if facts is None:
        return Section("Data", _NOT_KEPT)
    rows = [("trained", window.name, f"{window.rows:,}", window.digest) for window in facts.windows]
    judged = facts.evaluation
    use = "judged its twin"
    if evidence is not None and evidence.comparison is not None and evidence.comparison.held_out:
        use = "a held-out part judged its twin"
    rows.append((use, judged.name, f"{judged.rows:,}", judged.digest))
    if evidence is not None:
        rows += [("left out", name, "", reason) for name, reason in evidence.left_out]
    total = sum(window.rows for window in facts.windows)
    lines = (
        f"{total:,} labelled rows. Its twin, fitted without the judging rows, was judged; then "
        "the same recipe was fitted on all of these.",
    )
    return Section("Data", lines, ("use", "window", "labelled rows", "sha256"), tuple(rows))


def tell_drift(causes: Sequence[Entry], use_case: UseCase | None) -> Section:
    """The drift of the window that led to the training."""
    found = next((entry.turn for entry in causes if entry.turn.drift is not None), None)
    drift = None if found is None else found.drift
    if drift is None or drift.drift_share is None:
        return Section("Drift at training time", ("not measured",))
    limit = "" if use_case is None else f", limit {use_case.policy.retraining.max_drift_share:.2f}"
    columns = f" ({', '.join(drift.drifted_columns)})" if drift.drifted_columns else ""
    return Section(
        "Drift at training time", (f"drift_share {drift.drift_share:.2f}{limit}{columns}",)
    )


def tell_contract(use_case: UseCase | None) -> Section:
    """The target, and what every column promises."""
    if use_case is None:
        return Section("Contract", _NOT_KEPT)
    target = use_case.target
    positive = f"; {target.classes[1]} is the positive class" if len(target.classes) == 2 else ""
    return Section(
        "Contract",
        (f"target {target.column}, classes {', '.join(target.classes)}{positive}",),
        ("column", "type", "values", "nulls at most", "watched for drift"),
        tuple(_tell_column(name, column) for name, column in use_case.columns.items()),
    )


def _tell_column(name: str, column: Column) -> tuple[str, ...]:
    low = "" if column.minimum is None else f"from {column.minimum:g}"
    high = "" if column.maximum is None else f"to {column.maximum:g}"
    values = ", ".join(column.allowed) or " ".join(filter(None, (low, high))) or "any"
    nulls = "100 %, optional" if column.optional else f"{100 * column.max_null_rate:g} %"
    return name, column.type, values, nulls, "yes" if column.watch else "no"


def tell_recipe(
    known: VersionFacts, facts: TrainingFacts | None, use_case: UseCase | None
) -> Section:
    """The recipe and the settings that it was chosen under."""
    rows = [("recipe", known.recipe)]
    if use_case is not None:
        training = use_case.training
        rows += [
            ("recipes compared", ", ".join(training.recipes)),
            ("histories compared", ", ".join(training.all_histories)),
            ("half-life", f"{training.half_life_windows:g} windows"),
            ("seed", str(training.seed)),
            ("label delay", f"{use_case.labels.delay_windows} windows"),
            ("policy", use_case.policy.fingerprint),
        ]
    if facts is not None:
        rows.append(("loop.toml", f"{facts.fingerprint}, the whole file is in its run"))
    return Section("Recipe and settings", (), ("setting", "value"), tuple(rows))


def tell_scores(comparison: Comparison | None, use_case: UseCase | None) -> list[Section]:
    """Its scores beside production's on the same rows, and those of each class."""
    if comparison is None:
        return [Section("Scores", _NOT_KEPT)]
    confidence = 0.95 if use_case is None else use_case.policy.promotion.confidence
    both = [scores for scores in (comparison.candidate, comparison.production) if scores]
    measure = MEASURES["roc_auc" if use_case is None else use_case.policy.promotion.measure]
    delta = "no production to compare with" if comparison.delta is None else str(comparison.delta)
    rows = [("val_auc", *(tell_auc(scores, confidence) for scores in both))]
    if comparison.candidate.measured is not None:
        rows.append((measure.words, *(_tell_measured(scores, measure) for scores in both)))
    for name in ("accuracy", "f1", "log_loss", "brier"):
        rows.append((name, *(f"{getattr(scores, name):.4f}" for scores in both)))
    head = ("score", "this version", "production")
    lines = (
        f"on {comparison.candidate.rows:,} rows of {comparison.judged_on}, "
        f"confidence {confidence:g}",
        f"delta of {measure.gain}: {delta}",
        f"a model without columns reaches an AUC of {comparison.baseline_auc:.4f}",
    )
    by_class = ("in brackets: production on the same rows",) if comparison.production else ()
    return [
        Section("Scores", lines, head[: len(both) + 1], tuple(rows)),
        Section("Scores of each class", by_class, CLASS_HEAD, tell_classes(comparison)),
    ]


def _tell_measured(scores: Scores, measure: Measure) -> str:
    known = scores.measured
    return "unknown" if known is None else f"{measure.turn(known.value):.4f}"


def tell_slices(comparison: Comparison | None) -> Section:
    """The slices, each against production."""
    if comparison is None or not comparison.slices:
        return Section("Slices", ("none",) if comparison else _NOT_KEPT)
    return Section(
        "Slices",
        (),
        ("slice", "protected", "rows", "rows of the rarest class", "delta"),
        tuple(
            (
                part.name,
                "yes" if part.protected else "no",
                f"{part.rows:,}",
                f"{part.rarest:,}",
                "unknown" if part.delta is None else str(part.delta),
            )
            for part in comparison.slices
        ),
    )


def tell_needed(importance: Importance | None) -> Section:
    """How much it needs its columns, the most needed first."""
    if importance is None:
        return Section("Columns it needs", _NOT_KEPT)
    compared = importance.production is not None
    head = ("column", "AUC lost when shuffled", f"version {importance.production}", "change")
    shown = importance.columns[:_MOST_COLUMNS]
    left = len(importance.columns) - len(shown)
    lines = [f"of the twin, on {importance.rows:,} rows of {importance.window}"]
    lines += [f"{left} more in importance.json of its run"] if left else []
    return Section(
        "Columns it needs",
        tuple(lines),
        head if compared else head[:2],
        tuple(tell_importance(column, compared) for column in shown),
    )


def tell_service(evidence: PromotionEvidence | None) -> Section:
    """What computes the answers, and why."""
    if evidence is None or not evidence.served_by:
        return Section("What answers", _NOT_KEPT)
    lines = [
        "ONNX: it was proved to answer like the fitted pipeline"
        if evidence.served_by == "onnx"
        else f"the pipeline, not ONNX: {evidence.served_reason}"
    ]
    if evidence.packaging_difference is not None:
        lines.append(
            "largest difference between a probability of the package and of the fitted model: "
            f"{evidence.packaging_difference:.2g}"
        )
    lines += [
        f"golden case {case.name}: {'passed' if case.passed else 'failed'}, wanted {case.wanted}, "
        f"got {case.got}"
        for case in evidence.golden
    ]
    return Section("What answers", tuple(lines))


def tell_origin(known: VersionFacts, facts: TrainingFacts | None) -> Section:
    """Code, libraries, run and files."""
    rows = [("run in MLflow", known.run_id), ("sha256 of the files", known.digest or "unknown")]
    if facts is not None:
        rows += [("code revision", facts.revision)]
        rows += [
            (name, number) for name, _, number in (each.partition("==") for each in facts.libraries)
        ]
    return Section("Where it comes from", () if facts else _NOT_KEPT, ("", ""), tuple(rows))
