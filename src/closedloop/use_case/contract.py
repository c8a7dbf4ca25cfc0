"""What loop.toml becomes: a frozen use case and its parts, with every value checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from closedloop.decisions.fingerprint import ADDED_LATER
from closedloop.decisions.policy import Policy
from closedloop.use_case.alerts import Alerts
from closedloop.use_case.compute_rules import ComputeRules
from closedloop.use_case.housekeeping import Housekeeping
from closedloop.use_case.recipe import Recipe
from closedloop.use_case.schedule import Schedule
from closedloop.use_case.source import Source

# How a missing category is spelled in a prepared row: models treat it as a category of its own.
MISSING = "(missing)"


@dataclass(frozen=True)
class Column:
    """One feature and its contract.

    `minimum`, `maximum` and `allowed` limit single values. A window is broken when more than
    `max_bad_rate` of its non-null values are outside these limits, or more than `max_null_rate` of
    its values are null. `watch` includes the column in the drift share. A window may lack a column
    that is `optional`, or that came `since` a newer window: its values then count as null.
    """

    type: Literal["numeric", "categorical"]
    """What the values are. Booleans are the categories True and False."""
    minimum: float | None = None
    """The smallest value that can be true, for a numeric column."""
    maximum: float | None = None
    """The largest value that can be true, for a numeric column."""
    allowed: tuple[str, ...] = ()
    """The categories that can be true, matched whatever their case; empty allows any."""
    max_null_rate: float = 0.05
    """Share of nulls above which a window is broken."""
    max_bad_rate: float = 0.01
    """Share of values out of bounds above which a window is broken."""
    watch: bool = True
    """Whether the column counts for `drift_share`."""
    since: str | None = field(default=None, metadata=ADDED_LATER)
    """First window that has the column; older windows may lack it, as null."""
    optional: bool = field(default=False, metadata=ADDED_LATER)
    """Whether any window, table or request may lack the column, as null."""
    known_before_target: bool = field(default=False, metadata=ADDED_LATER)
    """Whether a person made sure that the column, which tells the target, is known before it."""
    record: bool = field(default=True, metadata=ADDED_LATER)
    """Whether the API keeps its values in the records; without them, records are no windows."""

    def __post_init__(self) -> None:
        if self.type == "numeric" and self.allowed:
            raise ValueError(
                "allowed is for categorical columns; use minimum and maximum for numeric ones"
            )
        if self.type == "categorical" and (self.minimum is not None or self.maximum is not None):
            raise ValueError(
                "minimum and maximum are for numeric columns; use allowed for categorical ones"
            )
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            raise ValueError(
                f"minimum must be below maximum, got {self.minimum:g} and {self.maximum:g}"
            )
        for name in ("max_null_rate", "max_bad_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name):g}")


@dataclass(frozen=True)
class Target:
    """The column to predict. With two classes, the second is the positive class."""

    column: str
    """The column to predict."""
    classes: tuple[str, ...]
    """Its classes. With two, the second is the one whose probability is scored."""

    def __post_init__(self) -> None:
        if len(set(self.classes)) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError(
                f"classes must name at least two different classes, got {list(self.classes)}"
            )


@dataclass(frozen=True)
class Slice:
    """A named part of the rows: where `column` is in `values`, or in [minimum, maximum)."""

    name: str
    """What the slice is called in checks."""
    column: str
    """The feature column that defines it."""
    values: tuple[str, ...] = ()
    """Categories that belong to the slice."""
    minimum: float | None = None
    """Smallest value that belongs to the slice."""
    maximum: float | None = None
    """First value above the slice."""
    protected: bool = False
    """Whether a candidate that harms this slice is rejected; otherwise it is reported."""

    def __post_init__(self) -> None:
        if bool(self.values) == (self.minimum is not None or self.maximum is not None):
            raise ValueError(f"slice {self.name} needs either values or minimum/maximum")


@dataclass(frozen=True)
class Training:
    """Which candidates are fitted: every recipe on every history.

    In the history `recent`, a row that is `half_life_windows` old counts half. In `newest` a row
    counts a quarter after one window and nothing after three: after an abrupt change older rows
    teach what is no longer true. When there is only one window, `holdout_share` of it is held out
    to evaluate the first model.
    """

    recipes: tuple[str, ...] = ("logistic", "lightgbm")
    """Recipes to fit: learners by name, or tables of `[recipes]`."""
    histories: tuple[Literal["all", "recent"], ...] = ("all", "recent")
    """Histories to fit each recipe on: all rows alike, or recent rows weighted more."""
    newest: bool = field(default=True, metadata=ADDED_LATER)
    """Whether `newest`, hardly any but the newest rows, is tried where `recent` is."""
    half_life_windows: float = 3.0
    """Age in windows at which a row of `recent` counts half."""
    holdout_share: float = 0.25
    """Share of rows that judges the first model when there is only one window."""
    seed: int = 7
    """Seed of everything random."""

    def __post_init__(self) -> None:
        if not self.recipes or not self.histories:
            raise ValueError("recipes and histories must each name at least one")
        if not 0.05 <= self.holdout_share <= 0.5:
            raise ValueError(
                f"holdout_share must be between 0.05 and 0.5, got {self.holdout_share:g}"
            )
        if self.half_life_windows <= 0:
            raise ValueError(f"half_life_windows must be positive, got {self.half_life_windows:g}")

    @property
    def all_histories(self) -> tuple[Literal["all", "recent", "newest"], ...]:
        """The histories, with `newest` after them where it is tried."""
        return (*self.histories, "newest") if self._tries_newest else self.histories

    @property
    def _tries_newest(self) -> bool:
        # A recipe that cannot weigh rows is fitted on `all` alone.
        return self.newest and "recent" in self.histories


@dataclass(frozen=True)
class AnswerRule:
    """When a row of two classes is answered with the second one.

    Probabilities stay what they are. A chosen threshold is kept with the version.
    """

    threshold: float = 0.5
    """Probability of the second class from which it is the answer."""
    choose: Literal["fixed", "f1", "cost", "recall_at_precision"] = "fixed"
    """What the threshold is chosen for, on the rows that judge the candidate."""
    min_precision: float = 0.8
    """For `"recall_at_precision"`: the precision that the most recall is wanted at."""

    def __post_init__(self) -> None:
        for name in ("threshold", "min_precision"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name):g}")
        if self.choose != "fixed" and self.threshold != 0.5:
            raise ValueError("threshold and choose exclude each other: keep one of them")


@dataclass(frozen=True)
class Labels:
    """`delay_windows` is the time to a prediction's label; 0: a window comes with its labels."""

    delay_windows: int = 0
    """Windows from a prediction to its label; 0: a window brings its labels."""

    def __post_init__(self) -> None:
        if self.delay_windows < 0:
            raise ValueError(f"delay_windows must not be negative, got {self.delay_windows}")


@dataclass(frozen=True)
class GoldenCase:
    """A row that any good model answers with a probability of `label` in [minimum, maximum]."""

    name: str
    """What the case is called in checks."""
    row: dict[str, Any]
    """Every feature and its value."""
    label: str
    """The class whose probability is checked."""
    minimum: float = 0.0
    """Lowest probability that passes."""
    maximum: float = 1.0
    """Highest probability that passes."""


@dataclass(frozen=True)
class Card:
    """What people say about the models, for their cards. It changes no decision."""

    intended_use: str = ""
    """What the models are for, and who may use them."""
    limits: str = ""
    """What they are not for, and where they are known to fail."""
    contact: str = ""
    """Whom to ask about them."""


@dataclass(frozen=True)
class Serving:
    """How the API serves. It changes no decision."""

    shadow: bool = False
    """Whether the newest candidate that waits for a person answers beside production, unheard."""


@dataclass(frozen=True)
class UseCase:
    """A use case, read and checked. Features are in the order of `columns` everywhere.

    `content` is the parsed file. It is stored with every model, so that a model knows the contract
    it was fitted under.
    """

    name: str
    path: Path
    source: Source
    target: Target
    columns: MappingProxyType[str, Column]
    description: str
    key: str | None
    golden: tuple[GoldenCase, ...]
    slices: tuple[Slice, ...]
    training: Training
    labels: Labels
    schedule: Schedule
    policy: Policy
    recipes: MappingProxyType[str, Recipe]
    card: Card
    fingerprint: str
    content: dict[str, Any] = field(repr=False, compare=False)
    decision: AnswerRule = AnswerRule()
    alerts: Alerts = field(default_factory=Alerts)
    housekeeping: Housekeeping = field(default_factory=Housekeeping)
    serving: Serving = Serving()
    compute: ComputeRules = field(default_factory=ComputeRules)
    group: str | None = None

    @property
    def stored_content(self) -> dict[str, Any]:
        """The content that is stored with a model: no golden cases, and which code was meant."""
        content = {name: value for name, value in self.content.items() if name != "golden"}
        for name, recipe in self.recipes.items():
            if recipe.code:
                table = {**content["recipes"][name], "code": recipe.code}
                content["recipes"] = {**content["recipes"], name: table}
        return content

    @property
    def required(self) -> tuple[str, ...]:
        """The features that a table or a request must hold."""
        return tuple(name for name, column in self.columns.items() if not column.optional)

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """The features whose values are kept out of the records."""
        return tuple(name for name, column in self.columns.items() if not column.record)

    @property
    def numeric(self) -> tuple[str, ...]:
        return tuple(name for name, column in self.columns.items() if column.type == "numeric")

    @property
    def categorical(self) -> tuple[str, ...]:
        return tuple(name for name, column in self.columns.items() if column.type == "categorical")
