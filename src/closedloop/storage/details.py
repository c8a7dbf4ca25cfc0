"""The facts behind a decision: one frozen record per kind of decision, and its JSON.

Facts that are measured together form a group. A group is written whole or not at all, and all its
keys stand side by side in the JSON. This is the only place that knows those keys: a key that an
older row lacks reads as None, a key that a newer row adds is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from closedloop.decisions.checks import Kind


@dataclass(frozen=True)
class WindowFacts:
    """The window that was looked at, with sentences for people about what was found on the way.

    `unnamed_columns` are those that loop.toml did not name.
    """

    rows: int | None = None
    labelled_rows: int | None = None
    digest: str | None = None
    notes: tuple[str, ...] = ()
    unnamed_columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class DriftFacts:
    """What was measured of drift, and whether a limit was passed; None where it is unknown.

    `drift_reference` is the window that it was measured against, None for the training rows.
    """

    drift_share: float | None = None
    drifted_columns: tuple[str, ...] = ()
    drift_over: bool | None = None
    loss_over: bool | None = None
    drift_reference: str | None = None


@dataclass(frozen=True)
class RealisedFacts:
    """Production's AUC on the window `realised_on`.

    With it, whether that window was quarantined, what an earlier turn had estimated for it, and the
    interval of the AUC with the rows behind it, which older versions did not keep.
    """

    realised_on: str | None = None
    realised_auc: float | None = None
    quarantined: bool | None = None
    estimated_for_judged: float | None = None
    realised_lower: float | None = None
    realised_upper: float | None = None
    realised_rows: int | None = None


@dataclass(frozen=True)
class GainFacts:
    """What newer labels would have gained on the window `gain_on`, and what counts of it.

    `gain_error` is its standard error.
    """

    gain_on: str | None = None
    gain: float | None = None
    gain_error: float | None = None
    gain_counted: float | None = None


@dataclass(frozen=True)
class EstimateFacts:
    """Production's AUC on a window without labels, with its interval; None where unknown."""

    estimated_auc: float | None = None
    estimated_lower: float | None = None
    estimated_upper: float | None = None


@dataclass(frozen=True)
class RunFacts:
    """The MLflow run that holds the evidence, the address of its report, and Prefect's flow run."""

    run: str | None = None
    report: str | None = None
    flow_run: str | None = None


@dataclass(frozen=True)
class ComparisonFacts:
    """The candidate and production on the same rows; `val_auc_error` is a standard error."""

    recipe: str | None = None
    evaluated_on: str | None = None
    val_auc: float | None = None
    production_val_auc: float | None = None
    delta: float | None = None
    quarantined_windows: tuple[str, ...] = ()
    val_auc_error: float | None = None


@dataclass(frozen=True)
class RowsFacts:
    """The windows that a waiting candidate learnt from and was judged on, as they were then.

    Each with its name, sha256, rows and labelled rows.
    """

    windows_then: tuple[tuple[str, str, int, int], ...] = ()


@dataclass(frozen=True)
class ShadowFacts:
    """A candidate beside production on recorded requests; None where nothing was compared.

    `shadow_flips` name a slice each, with its rows and how many got another prediction.
    """

    shadow_rows: int | None = None
    shadow_errors: int | None = None
    shadow_agreement: float | None = None
    shadow_score_shift: float | None = None
    shadow_p50_ms: float | None = None
    shadow_p95_ms: float | None = None
    shadow_memory_mb: float | None = None
    production_p50_ms: float | None = None
    production_p95_ms: float | None = None
    production_memory_mb: float | None = None
    shadow_flips: tuple[tuple[str, int, int], ...] = ()
    shadow_failure: str | None = None


@dataclass(frozen=True)
class TurnDetails:
    """What one look at a window showed: behind a retraining, a rollback and a quarantine.

    `production` is the version that was live, `bundle` the sha256 of the files of the version that
    the decision is about. A decision by a person has no other facts but `by` whom and `why`.
    """

    production: int | None = None
    window: WindowFacts | None = None
    drift: DriftFacts | None = None
    realised: RealisedFacts | None = None
    estimate: EstimateFacts | None = None
    run: RunFacts | None = None
    bundle: str | None = None
    by: str | None = None
    why: str | None = None
    gain: GainFacts | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for people about the reading of the window."""
        return self.window.notes if self.window is not None else ()


@dataclass(frozen=True)
class PromotionDetails:
    """What is known of a candidate.

    `production` is the version that was live, `bundle` the sha256 of the candidate's files. A
    decision by a person says `by` whom and `why`.
    """

    production: int | None = None
    comparison: ComparisonFacts | None = None
    bundle: str | None = None
    rows: RowsFacts | None = None
    by: str | None = None
    why: str | None = None
    shadow: ShadowFacts | None = None


@dataclass(frozen=True)
class ServingDetails:
    """The service that began to answer."""

    service: str | None = None


@dataclass(frozen=True)
class ErasedFacts:
    """What an erasure found: rows of records and what hung on them, and where else the key was.

    `digest` is an HMAC of the key with a secret of the home, never the key. `windows_of_records`
    and `own_windows` held rows of the key; `trained_versions` were trained on such windows.
    """

    digest: str = ""
    erased_rows: int = 0
    requests: int = 0
    labels: int = 0
    corrections: int = 0
    windows_of_records: tuple[str, ...] = ()
    own_windows: tuple[str, ...] = ()
    trained_versions: tuple[int, ...] = ()


@dataclass(frozen=True)
class ErasureDetails:
    """One person's rows that were removed from the records, `by` whom and `why`.

    `production` is the version that was live.
    """

    production: int | None = None
    by: str | None = None
    why: str | None = None
    erased: ErasedFacts | None = None
    bundle: str | None = None


Details = TurnDetails | PromotionDetails | ServingDetails | ErasureDetails
D = TypeVar("D", bound=Details)

_GROUPS: dict[str, type] = {
    "window": WindowFacts,
    "drift": DriftFacts,
    "realised": RealisedFacts,
    "estimate": EstimateFacts,
    "gain": GainFacts,
    "run": RunFacts,
    "comparison": ComparisonFacts,
    "erased": ErasedFacts,
    "rows": RowsFacts,
    "shadow": ShadowFacts,
}
# Only people write them: what the loop decides is written as older versions wrote it.
_OF_PEOPLE = ("by", "why")
_RECORDS: dict[Kind, type[Details]] = {
    Kind.RETRAINING: TurnDetails,
    Kind.ROLLBACK: TurnDetails,
    Kind.QUARANTINE: TurnDetails,
    Kind.PROMOTION: PromotionDetails,
    Kind.SERVING: ServingDetails,
    Kind.ACCEPTANCE: TurnDetails,
    Kind.ERASURE: ErasureDetails,
    Kind.OUTSIDE: TurnDetails,
}


def record_of(kind: Kind) -> type[Details]:
    """The record for decisions of this kind."""
    return _RECORDS[kind]


def write_details(details: Details) -> dict[str, Any]:
    """The record as the flat JSON that the journal keeps and `closedloop history --json` prints."""
    found: dict[str, Any] = {}
    for field in fields(details):
        value = getattr(details, field.name)
        if value is None and field.name in (*_GROUPS, *_OF_PEOPLE):
            continue
        found |= asdict(value) if field.name in _GROUPS else {field.name: value}
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in found.items()
    }


def read_details(record: type[D], content: Mapping[str, Any]) -> D:
    """A record from its JSON."""
    return record(
        **{
            field.name: _read_group(_GROUPS[field.name], content)
            if field.name in _GROUPS
            else content.get(field.name)
            for field in fields(record)
        }
    )


def _read_group(group: type, content: Mapping[str, Any]) -> Any:
    known = {field.name for field in fields(group)} & set(content)
    if not known:
        return None
    values = {name: content[name] for name in known}
    return group(**{name: _freeze(value) for name, value in values.items()})


def _freeze(value: Any) -> Any:
    """The value with tuples in the place of lists, all the way down."""
    return tuple(map(_freeze, value)) if isinstance(value, list) else value
