"""loop.toml -> UseCase: the data, the policy and the recipes of one use case, in one file.

Unknown keys are refused with the nearest right name; every value is checked when it is read.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_type_hints

from pydantic import TypeAdapter, ValidationError

from closedloop.decisions.policy import Policy
from closedloop.errors import UseCaseError
from closedloop.schedule import Schedule

DEFAULT_USE_CASE = Path("data/streamflow/loop.toml")
# How a category that has no value is spelled in a prepared row: models are fitted on it like on any other.
MISSING = "(missing)"


@dataclass(frozen=True)
class Column:
    """One feature and its contract.

    `minimum`, `maximum` and `allowed` bound single values; a window is broken when more than `max_bad_rate` of its
    non-null values break them, or more than `max_null_rate` of its values are null. `watch` puts it into the drift share.
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
            raise ValueError("allowed is for categorical columns; use minimum and maximum for numeric ones")
        if self.type == "categorical" and (self.minimum is not None or self.maximum is not None):
            raise ValueError("minimum and maximum are for numeric columns; use allowed for categorical ones")
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            raise ValueError(f"minimum must be below maximum, got {self.minimum:g} and {self.maximum:g}")
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
            raise ValueError(f"classes must name at least two different classes, got {list(self.classes)}")


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
    """A named part of the rows: where `column` is one of `values`, or lies in [minimum, maximum)."""

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
    """Which candidates are fitted: every recipe on every history. `half_life_windows` is the age at which a row of the
    history `recent` counts half. `holdout_share` is held out to judge the very first model when there is one window only."""

    recipes: tuple[Literal["logistic", "lightgbm"], ...] = ("logistic", "lightgbm")
    histories: tuple[Literal["all", "recent"], ...] = ("all", "recent")
    half_life_windows: float = 3.0
    holdout_share: float = 0.25
    seed: int = 7

    def __post_init__(self) -> None:
        if not self.recipes or not self.histories:
            raise ValueError("recipes and histories must each name at least one")
        if not 0.05 <= self.holdout_share <= 0.5:
            raise ValueError(f"holdout_share must be between 0.05 and 0.5, got {self.holdout_share:g}")
        if self.half_life_windows <= 0:
            raise ValueError(f"half_life_windows must be positive, got {self.half_life_windows:g}")


@dataclass(frozen=True)
class Labels:
    """`delay_windows` is the time from a prediction to its label, in windows: 0 when a window brings its own labels."""

    delay_windows: int = 0

    def __post_init__(self) -> None:
        if self.delay_windows < 0:
            raise ValueError(f"delay_windows must not be negative, got {self.delay_windows}")


@dataclass(frozen=True)
class GoldenCase:
    """A row with the answer that any model worth promoting gives: the probability of `label` lies in [minimum, maximum]."""

    name: str
    row: dict[str, Any]
    label: str
    minimum: float = 0.0
    maximum: float = 1.0


@dataclass(frozen=True)
class _File:
    """The file as written; UseCase adds where it was found."""

    name: str
    source: Source
    target: Target
    columns: dict[str, Column]
    description: str = ""
    key: str | None = None
    golden: str | None = None
    slices: tuple[Slice, ...] = ()
    training: Training = field(default_factory=Training)
    labels: Labels = field(default_factory=Labels)
    schedule: Schedule = field(default_factory=Schedule)
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True)
class UseCase:
    """One use case, read and checked. `columns` keeps the order of the file: it is the order of features everywhere.

    `content` is the file as parsed; it travels with every model, so that a model knows the contract it was fitted under.
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


_FILE: TypeAdapter[_File] | None = None


def _adapter() -> TypeAdapter[_File]:
    """The strict reader of the file; built on first use because building it takes a moment."""
    global _FILE
    if _FILE is None:
        _FILE = TypeAdapter(_File)
    return _FILE


def load_use_case(path: Path | str) -> UseCase:
    """Read loop.toml.

    Raises UseCaseError when the file is missing, is not TOML, has an unknown key, or a value that cannot be obeyed.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "loop.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UseCaseError(where="use case", wanted="a loop.toml file", got=f"nothing at {path}",
                           then="name one with --use-case, or write one with: closedloop init TABLE --target COLUMN") from None  # fmt: skip
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UseCaseError(where=str(path), wanted="a TOML file", got=str(error), then="mend that line") from None
    return parse_use_case(content, path)


def parse_use_case(content: dict[str, Any], path: Path) -> UseCase:
    """Check the content of a loop.toml found at `path`; raises UseCaseError as `load_use_case` does."""
    _refuse_unknown_keys(content, _File, str(path), "")
    try:
        file = _adapter().validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        got = "nothing" if first["type"] == "missing" else json.dumps(first.get("input"), default=str)[:120]
        raise UseCaseError(where=f"{path}: {where}", wanted=first["msg"].removeprefix("Value error, "), got=got,
                           then="mend it in the file") from None  # fmt: skip
    _check_names(file, path)
    # When one looks is not what is decided: a decision under another schedule is the same decision.
    described = {key: value for key, value in asdict(file).items() if key not in ("description", "schedule")}
    described["source"] = {key: value for key, value in described["source"].items() if key not in ("root", "url")}
    golden = _load_golden(file, path)
    described["golden"] = [asdict(case) for case in golden]
    fingerprint = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()[:12]
    values = {one.name: getattr(file, one.name) for one in fields(file)}
    return UseCase(
        **{
            **values,
            "columns": MappingProxyType(file.columns),
            "golden": golden,
            "path": path.resolve(),
            "fingerprint": fingerprint,
            "content": content,
        }
    )


def _refuse_unknown_keys(content: Any, kind: Any, path: str, where: str) -> None:
    """Walk the tables of the file beside the dataclasses they become."""
    if not isinstance(content, dict) or not is_dataclass(kind):
        return
    known = _types_of(kind)  # type: ignore[arg-type]  # typeshed: dataclasses may be unhashable; these are classes
    for key, value in content.items():
        inside = f"{where}.{key}" if where else key
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            then = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
            raise UseCaseError(where=path, wanted="a known key", got=inside, then=then)
        if key == "columns" and kind is _File and isinstance(value, dict):
            for name, column in value.items():
                _refuse_unknown_keys(column, Column, path, f"{inside}.{name}")
        elif key == "slices" and isinstance(value, list):
            for number, one in enumerate(value):
                _refuse_unknown_keys(one, Slice, path, f"{inside}[{number}]")
        else:
            _refuse_unknown_keys(value, known[key], path, inside)


@cache
def _types_of(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {one.name: hints[one.name] for one in fields(kind)}


def _check_names(file: _File, path: Path) -> None:
    """Names that point at columns must point at columns that exist."""
    if not file.columns:
        raise UseCaseError(where=f"{path}: columns", wanted="at least one feature column", got="none", then="add a [columns.NAME] table")
    if not file.name.replace("_", "").replace("-", "").isalnum():
        raise UseCaseError(where=f"{path}: name", wanted="letters, digits, - and _ only", got=repr(file.name), then="choose a plain name")
    for name in (file.target.column, file.key):
        if name in file.columns:
            raise UseCaseError(where=f"{path}: columns.{name}", wanted="features only", got="the target or the key among the features",
                               then=f"remove [columns.{name}]")  # fmt: skip
    for one in file.slices:
        if one.column not in file.columns:
            near = difflib.get_close_matches(one.column, file.columns, n=1)
            raise UseCaseError(where=f"{path}: slice {one.name}", wanted="a column of [columns]", got=one.column,
                               then=f"did you mean {near[0]}?" if near else "name one of the feature columns")  # fmt: skip
        if bool(one.values) != (file.columns[one.column].type == "categorical"):
            raise UseCaseError(where=f"{path}: slice {one.name}", wanted="values for a category, minimum/maximum for a numeric one",
                               got=f"the other for {one.column}", then="mend the slice")  # fmt: skip


def _load_golden(file: _File, path: Path) -> tuple[GoldenCase, ...]:
    """Golden cases live beside loop.toml, as a JSON list of {name, row, label, minimum, maximum}."""
    if file.golden is None:
        return ()
    golden = path.parent / file.golden
    try:
        cases = TypeAdapter(tuple[GoldenCase, ...]).validate_python(json.loads(golden.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UseCaseError(where=str(golden), wanted="a JSON list of golden cases {name, row, label, minimum, maximum}",
                           got=str(error).splitlines()[0], then="mend the file, or remove golden from loop.toml") from None  # fmt: skip
    for case in cases:
        missing = sorted(set(file.columns) - set(case.row))
        unknown = sorted(set(case.row) - set(file.columns))
        if missing or unknown or case.label not in file.target.classes:
            got = f"missing {missing}" if missing else f"unknown {unknown}" if unknown else f"label {case.label!r}"
            raise UseCaseError(where=f"{golden}: case {case.name}", wanted=f"every feature and a label of {list(file.target.classes)}",
                               got=got, then="mend the case")  # fmt: skip
    return cases
