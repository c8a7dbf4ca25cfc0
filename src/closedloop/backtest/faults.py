"""Faults put into a labelled window on purpose, to test what claims to notice them.

A window is a raw frame as a source returns it: numbers may be numbers or text, labels any spelling
of a class. A fault changes what its name says and nothing else: other columns, the order of columns
and the index stay, and so do dtypes, unless they cannot hold the new values. Pure: the same frame,
fault and seed give the same frame, and the input is never changed.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.errors import SourceError, UseCaseError
from closedloop.use_case.contract import UseCase
from closedloop.windows.prepare import read_numbers
from closedloop.windows.spelling import find_spellings, read_label
from closedloop.windows.written_numbers import read_number

_FLIPPED = 0.4
_KEPT = 0.1

Fault = Callable[[pd.DataFrame, UseCase, np.random.Generator], pd.DataFrame]


def inject(frame: pd.DataFrame, fault: str, use_case: UseCase, seed: int) -> pd.DataFrame:
    """The window with one fault of FAULTS in it, as a new frame.

    Raises UseCaseError for an unknown fault, or when the use case has no column of the kind that it
    needs; SourceError when the window has too few rows or labels, or no column to change.
    """
    if fault not in FAULTS:
        near = difflib.get_close_matches(fault, FAULTS, n=1)
        raise UseCaseError(
            where="fault",
            wanted=f"one of {', '.join(FAULTS)}",
            got=repr(fault),
            then=f"did you mean {near[0]}?" if near else "name a fault of this list",
        )
    if fault not in applicable(use_case):
        raise UseCaseError(
            where=f"fault {fault}",
            wanted="a numeric feature",
            got=f"none in {use_case.name}",
            then=f"choose one of {', '.join(applicable(use_case))}",
        )
    if len(frame) < 2:
        raise SourceError(
            where=f"fault {fault}",
            wanted="a window of two rows or more",
            got=f"{len(frame)}",
            then="choose a larger window",
        )
    return FAULTS[fault](frame, use_case, np.random.default_rng(seed))


def applicable(use_case: UseCase) -> tuple[str, ...]:
    """Names of the faults that fit the columns of the use case, in the order of FAULTS."""
    return tuple(name for name in FAULTS if use_case.numeric or name not in _NEED_A_NUMBER)


def flip_labels(frame: pd.DataFrame, use_case: UseCase, rng: np.random.Generator) -> pd.DataFrame:
    """40 % of the labels, drawn at random, become another class, drawn evenly."""
    found = _read_classes(frame, use_case)
    labelled = np.flatnonzero(found >= 0)
    moved = rng.choice(labelled, round(_FLIPPED * len(labelled)), replace=False)
    classes = len(use_case.target.classes)
    return _write_classes(
        frame,
        use_case,
        found,
        moved,
        (found[moved] + rng.integers(1, classes, len(moved))) % classes,
    )


def swap_classes(frame: pd.DataFrame, use_case: UseCase, rng: np.random.Generator) -> pd.DataFrame:
    """Every label becomes the next class of loop.toml, and the last becomes the first."""
    found = _read_classes(frame, use_case)
    labelled = np.flatnonzero(found >= 0)
    return _write_classes(
        frame, use_case, found, labelled, (found[labelled] + 1) % len(use_case.target.classes)
    )


def scale_thousandfold(
    frame: pd.DataFrame, use_case: UseCase, rng: np.random.Generator
) -> pd.DataFrame:
    """The numeric feature with the largest standard deviation times 1000: kilometres to metres."""
    return _change_unit(frame, use_case, 1000.0, 0.0)


def inches_to_centimetres(
    frame: pd.DataFrame, use_case: UseCase, rng: np.random.Generator
) -> pd.DataFrame:
    """The numeric feature with the largest standard deviation times 2.54."""
    return _change_unit(frame, use_case, 2.54, 0.0)


def celsius_to_fahrenheit(
    frame: pd.DataFrame, use_case: UseCase, rng: np.random.Generator
) -> pd.DataFrame:
    """The numeric feature with the largest standard deviation times 1.8, plus 32."""
    return _change_unit(frame, use_case, 1.8, 32.0)


def repeat_rows(frame: pd.DataFrame, use_case: UseCase, rng: np.random.Generator) -> pd.DataFrame:
    """A random half of the rows, keys and labels included, replaces the other half."""
    order = rng.permutation(len(frame))
    half = len(frame) // 2
    source = np.arange(len(frame))
    source[order[:half]] = order[half : 2 * half]
    return frame.iloc[source].set_axis(frame.index)


def empty_column(frame: pd.DataFrame, use_case: UseCase, rng: np.random.Generator) -> pd.DataFrame:
    """One feature with values, drawn at random, is null in every row."""
    name = _choose(
        [
            column
            for column in use_case.columns
            if column in frame.columns and frame[column].notna().any()
        ],
        "with a value",
        rng,
    )
    return frame.assign(**{name: frame[name].where(np.zeros(len(frame), dtype=bool))})


def truncate_window(
    frame: pd.DataFrame, use_case: UseCase, rng: np.random.Generator
) -> pd.DataFrame:
    """The first 10 % of the rows, at least one: the export broke off."""
    return frame.iloc[: max(1, round(_KEPT * len(frame)))]


def stick_sensor(frame: pd.DataFrame, use_case: UseCase, rng: np.random.Generator) -> pd.DataFrame:
    """One varying numeric feature, drawn at random, has its last value in every row."""
    name = _choose(
        [column for column in use_case.numeric if _varies(frame, column)],
        "that is numeric and varies",
        rng,
    )
    last = int(np.flatnonzero(frame[name].notna())[-1])
    return frame.assign(**{name: frame[name].iloc[np.full(len(frame), last)].set_axis(frame.index)})


def shift_column(frame: pd.DataFrame, use_case: UseCase, rng: np.random.Generator) -> pd.DataFrame:
    """One varying feature, drawn at random, moves down by a row; its last value comes first."""
    name = _choose(
        [column for column in use_case.columns if _varies(frame, column)], "that varies", rng
    )
    return frame.assign(
        **{name: frame[name].iloc[np.roll(np.arange(len(frame)), 1)].set_axis(frame.index)}
    )


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "labels_flipped": flip_labels,
        "classes_swapped": swap_classes,
        "unit_thousandfold": scale_thousandfold,
        "unit_inches": inches_to_centimetres,
        "unit_fahrenheit": celsius_to_fahrenheit,
        "rows_repeated": repeat_rows,
        "column_empty": empty_column,
        "window_truncated": truncate_window,
        "sensor_stuck": stick_sensor,
        "column_shifted": shift_column,
    }
)
_NEED_A_NUMBER = frozenset({"unit_thousandfold", "unit_inches", "unit_fahrenheit", "sensor_stuck"})


def _read_classes(frame: pd.DataFrame, use_case: UseCase) -> NDArray[np.int64]:
    """The class of each row by its place in loop.toml, shape (n,); -1 without a known label."""
    target = use_case.target
    places = {name: place for place, name in enumerate(target.classes)}
    spellings = find_spellings(target.classes)
    values = frame[target.column] if target.column in frame.columns else ()
    found = np.array(
        [places.get(read_label(value, spellings) or "", -1) for value in values], dtype=np.int64
    )
    if not (found >= 0).any():
        raise SourceError(
            where=f"target {target.column}",
            wanted="labels to put a fault into",
            got="none",
            then="choose a labelled window",
        )
    return found


def _write_classes(
    frame: pd.DataFrame,
    use_case: UseCase,
    found: NDArray[np.int64],
    rows: NDArray[np.int64],
    classes: NDArray[np.int64],
) -> pd.DataFrame:
    """Write classes into rows, each spelled as the window first spells it."""
    column = use_case.target.column
    before = frame[column]
    spelled = {
        int(label): before.iloc[int((found == label).argmax())]
        for label in np.unique(found[found >= 0])
    }
    after = before.astype(object)
    for row, label in zip(rows.tolist(), classes.tolist(), strict=True):
        after.iloc[row] = spelled.get(label, _spell_like(use_case.target.classes[label], before))
    return frame.assign(**{column: _as_before(after, before)})


def _spell_like(name: str, values: pd.Series[Any]) -> Any:
    """A class that is not in the window, as a number when its labels are numbers or bools."""
    number = read_number(name)
    return name if np.isnan(number) or not pd.api.types.is_numeric_dtype(values) else number


def _change_unit(
    frame: pd.DataFrame, use_case: UseCase, factor: float, offset: float
) -> pd.DataFrame:
    numbers = {name: read_numbers(frame[name]) for name in use_case.numeric if _varies(frame, name)}
    spreads = {
        name: float(np.nanstd(values))
        for name, values in numbers.items()
        if np.isfinite(values).any()
    }
    if not spreads:
        raise _nothing_to_change("that is numeric and varies")
    name = max(spreads, key=lambda column: spreads[column])
    after = pd.Series(numbers[name] * factor + offset, index=frame.index)
    return frame.assign(**{name: _as_before(after, frame[name])})


def _varies(frame: pd.DataFrame, name: str) -> bool:
    return name in frame.columns and frame[name].nunique(dropna=True) > 1


def _choose(names: list[str], kind: str, rng: np.random.Generator) -> str:
    if not names:
        raise _nothing_to_change(kind)
    return names[int(rng.integers(len(names)))]


def _nothing_to_change(kind: str) -> SourceError:
    return SourceError(
        where="fault",
        wanted=f"a feature {kind}",
        got="none in this window",
        then="choose another window or fault",
    )


def _as_before(after: pd.Series[Any], before: pd.Series[Any]) -> pd.Series[Any]:
    """`after` in the dtype of `before` if that can hold every value, else unchanged."""
    try:
        cast = after.astype(before.dtype)
    except (TypeError, ValueError, OverflowError):
        return after
    if pd.api.types.is_numeric_dtype(before):
        held = np.allclose(
            read_numbers(cast), read_numbers(after), rtol=1e-6, atol=0, equal_nan=True
        )
    else:
        held = bool((cast.isna() == after.isna()).all())
    return cast if held else after
