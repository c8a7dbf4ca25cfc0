"""What the decisions about suspect labels look at: frozen facts, as in `evidence`."""

from __future__ import annotations

from dataclasses import dataclass

from closedloop.decisions.evidence import Estimate


@dataclass(frozen=True)
class QuarantineEvidence:
    """All that `decide_quarantine` looks at.

    A labelled window that production was not trained on, and the windows before it, oldest first.

    `expected_auc` is the val_auc that production was promoted with. `earlier_errors` and
    `expected_auc_error` are standard errors, 0 or None where older versions did not keep them.
    `label_counts` are rows by class. `trusted_by` names the decision that released the window
    before; empty without one.
    """

    window: str
    production: int | None
    realised_auc: Estimate
    earlier_aucs: tuple[float, ...]
    expected_auc: float | None
    label_counts: tuple[int, ...]
    earlier_label_counts: tuple[tuple[int, ...], ...]
    trusted_by: str = ""
    earlier_errors: tuple[float, ...] = ()
    expected_auc_error: float | None = None


@dataclass(frozen=True)
class WitnessEvidence:
    """All that `decide_release` looks at: a window in quarantine, and a later one as its witness.

    `auc` and `witness_auc` are those of the same production on the two, on rows that it was not
    trained on. Label counts are rows by class; the earlier ones are of the windows before `window`,
    oldest first.
    """

    window: str
    witness: str
    production: int | None
    auc: Estimate
    witness_auc: Estimate
    label_counts: tuple[int, ...]
    witness_label_counts: tuple[int, ...]
    earlier_label_counts: tuple[tuple[int, ...], ...]
