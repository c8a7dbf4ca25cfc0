"""What the loop has measured and read: frozen facts, without verdict, clock or I/O.

Decisions take these and a policy, nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from closedloop.decisions.deciding_measure import Measured
from closedloop.decisions.drift_report import DriftReport
from closedloop.decisions.gain_evidence import Gain
from closedloop.decisions.repeated_rows import RepeatedRows
from closedloop.decisions.shadow import ShadowReplay
from closedloop.decisions.single_column import ColumnAuc
from closedloop.decisions.taken_back import TakenBack


@dataclass(frozen=True)
class Window:
    """A named stretch of rows.

    `index` is its place in time order (0 is the oldest), `digest` a sha256 of its content.
    """

    name: str
    index: int
    rows: int
    labelled_rows: int
    labels_per_class: tuple[tuple[str, int], ...]
    digest: str


@dataclass(frozen=True)
class Violation:
    """One way in which a window breaks the contract."""

    column: str
    rule: str
    wanted: str
    got: str

    def __str__(self) -> str:
        return f"{self.column}: {self.rule}: wanted {self.wanted}, got {self.got}"


@dataclass(frozen=True)
class Estimate:
    """A measured value with its confidence interval and the rows behind it.

    More is better in everything estimated here. Where rows belong together, `groups` counts the
    groups with a row of the rarest class; None where rows are independent.
    """

    value: float
    lower: float
    upper: float
    rows: int
    groups: int | None = None

    def __str__(self) -> str:
        return f"{self.value:+.4f} [{self.lower:+.4f}, {self.upper:+.4f}] on {self.rows} rows"


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of one class, of the answers that are given; 0 to 1."""

    label: str
    precision: float
    recall: float
    f1: float
    rows: int


@dataclass(frozen=True)
class Scores:
    """How one model did on one labelled window.

    `val_auc` is ROC AUC, macro one-versus-rest for more than two classes, None when a class is
    missing from the rows; `val_auc_error` is its standard error, None when unknown or when a class
    has fewer than two rows. `confusion` counts rows: actual class down, predicted class across, in
    the order of `classes`. `measured` is what decides where AUC does not;
    `calibration_error` is None in evidence of older versions. `groups` as in `Estimate`.
    """

    window: str
    rows: int
    val_auc: float | None
    accuracy: float
    log_loss: float
    brier: float
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    val_auc_error: float | None = None
    measured: Measured | None = None
    calibration_error: float | None = None
    groups: int | None = None

    @property
    def f1(self) -> float:
        """F1 of the positive class of two, otherwise the mean over the classes."""
        judged = self.classes[1:] if len(self.classes) == 2 else self.classes
        return sum(scores.f1 for scores in judged) / len(judged)


@dataclass(frozen=True)
class SliceDelta:
    """Candidate against production on one slice.

    `delta` is None when a class has fewer than two rows in it.

    Its interval is corrected for the number of slices (`metrics.comparison.measure_slices`).
    `rarest` counts the rows of the rarest class, 0 when a class is missing, and `groups` the groups
    with such a row, as in `Estimate`.
    """

    name: str
    protected: bool
    rows: int
    rarest: int
    delta: Estimate | None
    groups: int | None = None


@dataclass(frozen=True)
class Comparison:
    """One candidate and production on the same rows, newer than both models' training rows.

    `held_out` is True when no newer window existed and a held-out part of the training window was
    used (first model only). `delta` is the candidate minus production in the measure that decides;
    None without a production model or when it could not be scored. `history` says how the candidate
    weighs its training rows: `all` the same, or `recent` ones more. `threshold` is the candidate's,
    None where the likeliest class is the answer. `window` is the newest that judged, `judged_with`
    are older ones, oldest first, where one alone had too few rows of a class.
    """

    recipe: str
    window: str
    candidate: Scores
    baseline_auc: float
    held_out: bool
    same_recipe: bool
    production: Scores | None
    delta: Estimate | None
    slices: tuple[SliceDelta, ...]
    history: str = "all"
    threshold: float | None = None
    judged_with: tuple[str, ...] = ()

    @property
    def judged_on(self) -> str:
        """The window that judged, or the first and the last of several."""
        return f"{self.judged_with[0]} to {self.window}" if self.judged_with else self.window


@dataclass(frozen=True)
class GoldenResult:
    """One golden case: the answer that was wanted of the candidate, and the one it gave."""

    name: str
    passed: bool
    wanted: str
    got: str


@dataclass(frozen=True)
class LoopState:
    """Where the loop stands before a turn, read from the registry and the journal.

    Indexes count windows in time order. `expected_auc` is the val_auc that production was promoted
    with, `expected_auc_error` its standard error, None where older versions did not keep it;
    `expected` is the same where another measure decided.
    `drift_marks` and `loss_marks` say, oldest first and
    without the current window, whether drift_share (the AUC loss) was over its limit; a broken
    window leaves no mark. `drifting_since` is the first window of the run of drift marks that were
    over, up to the newest; None when the newest was not. `waiting` is the decision on a candidate
    that waits for a person. `missed` are the gains that count against production since the last
    training: the window that each was measured on, and what counts of it (`decisions.gain`).
    """

    production: int | None = None
    previous: int | None = None
    trained_through: int | None = None
    promoted_at: int | None = None
    expected_auc: float | None = None
    trained_at: tuple[int, ...] = ()
    drift_marks: tuple[bool, ...] = ()
    loss_marks: tuple[bool, ...] = ()
    drifting_since: int | None = None
    expected_auc_error: float | None = None
    expected: Measured | None = None
    waiting: int | None = None
    missed: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class RetrainingEvidence:
    """All that `decide_retraining` looks at.

    `new_labels` are labelled rows, by class, newer than production's training rows;
    `production_error` says why production could not be loaded or asked, if so; `repeated` are rows
    of the newest labelled window that windows before it hold. `quarantined` is the labelled window
    that was judged, if it is kept out of training and nobody decided on it yet, and
    `quarantined_because` says why; empty otherwise. `new_columns` are columns of the window that
    nobody has named. `realised` is `realised_auc` in the measure that decides; None if that is AUC.
    `gain` is None where production knows all labels that a candidate would learn from.
    """

    window: Window
    state: LoopState
    violations: tuple[Violation, ...] = ()
    drift: DriftReport | None = None
    realised_auc: Estimate | None = None
    new_labels: tuple[tuple[str, int], ...] = ()
    requested: bool = False
    production_error: str | None = None
    repeated: RepeatedRows | None = None
    quarantined: str = ""
    quarantined_because: str = ""
    new_columns: tuple[str, ...] = ()
    realised: Estimate | None = None
    gain: Gain | None = None


@dataclass(frozen=True)
class PromotionEvidence:
    """All that `decide_promotion` looks at.

    `packaging_difference` is the largest difference between a probability of the packaged model and
    of the fitted one, in every form in which it may be served; None when the package was not tried.
    `left_out` are the windows with due labels that the candidate has not learned from, each with
    the reason; `learnt_rows` are the labelled rows that it learned from, and how many it might have
    been, where memory had no room for all of them.
    `served_by` is the form that will answer, `onnx` or `pipeline`, empty when unknown;
    `served_reason` says why it is not ONNX. `new_windows` are those that the candidate learnt from
    and production does not know; None when unknown. `expected_auc` is the val_auc that production
    was promoted with, `expected_auc_error` its standard error, `expected` as in LoopState.
    `quarantined` windows were kept out of the training; the evaluation window may be one of them.
    `repeated` are rows of the evaluation window that one of the two was trained on.
    `single_columns` are measured for a first model. `taken_back` is a version like this one that
    was, with no newer labels that speak for it. `shadow` is None when nothing was replayed.
    """

    window: Window
    version: int | None
    production: int | None
    comparison: Comparison | None
    packaging_difference: float | None
    golden: tuple[GoldenResult, ...] = ()
    quarantined: tuple[str, ...] = ()
    production_error: str | None = None
    served_by: str = ""
    served_reason: str = ""
    new_windows: tuple[str, ...] | None = None
    expected_auc: float | None = None
    expected_auc_error: float | None = None
    repeated: RepeatedRows | None = None
    single_columns: tuple[ColumnAuc, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    expected: Measured | None = None
    taken_back: TakenBack | None = None
    shadow: ShadowReplay | None = None
    learnt_rows: tuple[int, int] | None = None
