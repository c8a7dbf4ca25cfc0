"""What one use case is: its columns, target, source, slices, training, labels and golden cases;
frozen, every value checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from closedloop.decisions.policy import Policy
from closedloop.use_case.schedule import Schedule

# How a category that has no value is spelled in a prepared row: models are fitted on it like on any
# other.
MISSING = "(missing)"


@dataclass(frozen=True)
class Column:
    """One feature and its contract.

    `minimum`, `maximum` and `allowed` bound single values; a window is broken when more than
    `max_bad_rate` of its non-null values break them, or more than `max_null_rate` of its values are
    null. `watch` puts it into the drift share.
    """

    type: Literal["numeric", "categorical"]
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()
    max_null_rate: float = 0.05
    max_bad_rate: float = 0.01
    watch: bool = True

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
    """The column to predict. With two classes the second one is the positive one."""

    column: str
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.classes)) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError(
                f"classes must name at least two different classes, got {list(self.classes)}"
            )


@dataclass(frozen=True)
class Source:
    """Where windows come from.

    `files`: `root` is a folder (relative to loop.toml; CLOSEDLOOP_DATA replaces it), `query` is DuckDB SQL in which
    `{root}` and `{window}` are filled in; the windows are the names under root that match the pattern `windows`
    (without their file ending), or the rows of `windows_query`, in sorted order.
    `sql`: `url` is a SQLAlchemy address (or `$NAME` of an environment variable that holds it).
    """

    query: str
    kind: Literal["files", "sql"] = "files"
    root: str = "."
    windows: str | None = None
    windows_query: str | None = None
    url: str | None = None
    generator: Literal["streamflow", "iris"] | None = None

    def __post_init__(self) -> None:
        if (self.windows is None) == (self.windows_query is None):
            raise ValueError("exactly one of windows and windows_query must be given")
        if self.kind == "sql" and (self.url is None or self.windows_query is None):
            raise ValueError("a sql source needs url and windows_query")


@dataclass(frozen=True)
class Slice:
    """A named part of the rows: where `column` is one of `values`, or lies in [minimum,
    maximum)."""

    name: str
    column: str
    values: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    protected: bool = False

    def __post_init__(self) -> None:
        if bool(self.values) == (self.minimum is not None or self.maximum is not None):
            raise ValueError(f"slice {self.name} needs either values or minimum/maximum")


@dataclass(frozen=True)
class Training:
    """Which candidates are fitted: every recipe on every history. `half_life_windows` is the age at
    which a row of the history `recent` counts half. `holdout_share` is held out to judge the very
    first model when there is one window only."""

    recipes: tuple[Literal["logistic", "lightgbm"], ...] = ("logistic", "lightgbm")
    histories: tuple[Literal["all", "recent"], ...] = ("all", "recent")
    half_life_windows: float = 3.0
    holdout_share: float = 0.25
    seed: int = 7

    def __post_init__(self) -> None:
        if not self.recipes or not self.histories:
            raise ValueError("recipes and histories must each name at least one")
        if not 0.05 <= self.holdout_share <= 0.5:
            raise ValueError(
                f"holdout_share must be between 0.05 and 0.5, got {self.holdout_share:g}"
            )
        if self.half_life_windows <= 0:
            raise ValueError(f"half_life_windows must be positive, got {self.half_life_windows:g}")


@dataclass(frozen=True)
class Labels:
    """`delay_windows` is the time from a prediction to its label, in windows: 0 when a window
    brings its own labels."""

    delay_windows: int = 0

    def __post_init__(self) -> None:
        if self.delay_windows < 0:
            raise ValueError(f"delay_windows must not be negative, got {self.delay_windows}")


@dataclass(frozen=True)
class GoldenCase:
    """A row with the answer that any model worth promoting gives: the probability of `label` lies
    in [minimum, maximum]."""

    name: str
    row: dict[str, Any]
    label: str
    minimum: float = 0.0
    maximum: float = 1.0


@dataclass(frozen=True)
class UseCase:
    """One use case, read and checked. `columns` keeps the order of the file: it is the order of
    features everywhere.

    `content` is the file as parsed; it travels with every model, so that a model knows the contract
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
    fingerprint: str
    content: dict[str, Any] = field(repr=False, compare=False)

    @property
    def numeric(self) -> tuple[str, ...]:
        return tuple(name for name, column in self.columns.items() if column.type == "numeric")

    @property
    def categorical(self) -> tuple[str, ...]:
        return tuple(name for name, column in self.columns.items() if column.type == "categorical")
