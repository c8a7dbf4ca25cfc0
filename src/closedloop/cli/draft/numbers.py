"""Which columns are numbers, what their limits are, and what in them a person should look at."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.cli.draft.dates import describe_digits, grows, may_be_seconds
from closedloop.cli.draft.facts import Facts, RowWindows, Spread, spread_of
from closedloop.cli.draft.feature import (
    Feature,
    Surroundings,
    count_rows,
    limit_nulls,
    looks_like_id,
    show,
)
from closedloop.use_case.toml_text import quote
from closedloop.windows.prepare import read_numbers
from closedloop.windows.spelling import says_nothing
from closedloop.windows.written_numbers import read_amount

_CODE = re.compile(r"0\d+|\d+[eE]\d+")  # 01067, 1E3: not how programs write numbers
_MOST, _ENOUGH = 0.99, 0.95  # of the values must be numbers
_FEW_ODD, _MANY = 3, 30
_FEW_CODES = 0.005  # of the values; more look like codes on purpose
_FEW = 20
_EXACT = 2**53
_LOOKED_AT = 500  # of the most frequent texts, before all are


@dataclass(frozen=True)
class Numbers:
    """A column read as numbers: `values` of the rows looked at, NaN where there is none.

    `spread` is of all rows. `codes` says why the column is codes rather than numbers. `units` and
    `no_numbers` count the rows of each currency or '%', and of each text that is no number.
    """

    values: NDArray[np.float64]
    facts: Facts
    spread: Spread
    codes: str
    units: pd.Series[int]
    no_numbers: pd.Series[int]


def find_numbers(facts: Facts, windows: RowWindows) -> Numbers | None:
    """The column as numbers, or None when it is something else."""
    column, texts, counts = facts.values, facts.texts, facts.counts
    none = pd.Series(dtype=int)
    if pd.api.types.is_bool_dtype(column.dropna()):
        return None
    if pd.api.types.is_numeric_dtype(column):
        codes = _find_long_codes(counts.index) if pd.api.types.is_integer_dtype(column) else ""
        values = read_numbers(column)
        return Numbers(values, facts, spread_of(values, windows), codes, none, none)
    if set(counts.index.str.casefold()) <= {"true", "false"}:
        return None
    if not any(math.isfinite(read_amount(text)[0]) for text in counts.index[:_LOOKED_AT]):
        return None
    amounts = {str(text): read_amount(str(text)) for text in counts.index}
    readable = np.array([math.isfinite(amounts[text][0]) for text in counts.index])
    numbers, others = counts[readable], counts[~readable]
    nothing = np.array([says_nothing(text) for text in others.index], dtype=bool)
    odd = others[~nothing]
    share = numbers.sum() / (numbers.sum() + odd.sum())
    if share < (_ENOUGH if len(odd) <= _FEW_ODD and len(numbers) > _MANY else _MOST):
        return None
    if len(numbers) < 10 and numbers.sum() < counts.sum() / 2:
        return None
    found = {text: number for text, (number, _) in amounts.items()}
    values = np.array([found.get(text, math.nan) for text in texts])
    values[~np.isfinite(values)] = np.nan
    units = numbers.groupby([amounts[text][1] for text in numbers.index]).sum()
    units = units.sort_values(ascending=False)
    spread = spread_of(values, windows)
    return Numbers(values, facts, spread, _find_codes(numbers), units, others)


def _find_codes(numbers: pd.Series[int]) -> str:
    codes = numbers[[bool(_CODE.fullmatch(text)) for text in numbers.index]]
    if codes.sum() > _FEW_CODES * numbers.sum():
        return f"written like codes, such as {show(str(codes.index[0]))}, and kept as written"
    return _find_long_codes(numbers.index)


def _find_long_codes(texts: Iterable[str]) -> str:
    long = [text for text in texts if re.fullmatch(r"[+-]?\d{16,}", text)]
    if not any(abs(int(text)) > _EXACT for text in long):
        return ""
    if len(long) > _MANY and len({float(text) for text in long}) == len(long):
        return ""
    return f"whole numbers beyond 2^53, such as {long[0]}, and kept as written"


def describe_numbers(name: str, numbers: Numbers, around: Surroundings) -> Feature:
    """The limits of a column of numbers; null rates are those of the worst window."""
    spread, rows = numbers.spread, numbers.facts.rows
    currencies = numbers.units.drop(["", "%"], errors="ignore")
    if len(currencies) > 1:
        listed = ", ".join(
            f"{unit} in {count_rows(int(many), rows)}" for unit, many in currencies.items()
        )
        return Feature(name, left_out=f"amounts in several currencies ({listed}): convert to one")
    if why := describe_digits(name, numbers.values, around.windows.by_name):
        return Feature(name, left_out=why)
    distinct = len(spread.counts)
    if spread.whole and spread.different and (looks_like_id(name) or spread.by_one):
        return Feature(name, left_out="an id or a row number: every value is different")
    low, high = float(spread.counts.index.min()), float(spread.counts.index.max())
    span = high - low
    minimum, maximum = (
        (0.0 if low >= 0 else _outward(low - span)),
        (0.0 if high <= 0 else _outward(high + span)),
    )
    rate = around.windows.worst_share(spread.nulls)
    notes = [*_explain_nulls(numbers), *_explain_units(numbers), *_find_doubts(numbers, around)]
    lines = [
        'type = "numeric"',
        *(f"# {note}" for note in notes),
        *([f"# {_ask_whether_codes(distinct)}"] if spread.whole and 2 < distinct <= _FEW else []),
        f"minimum = {_plain(minimum)}",
        f"maximum = {_plain(maximum)}  # seen: {low:.6g} to {high:.6g}",
        *limit_nulls(rate),
        *_allow_odd(numbers),
    ]
    return Feature(name, tuple(lines), notes=tuple(notes))


def _ask_whether_codes(distinct: int) -> str:
    return (
        f"whole numbers, {distinct} values: if these are codes, write type = "
        '"categorical" and delete minimum and maximum'
    )


def _explain_nulls(numbers: Numbers) -> list[str]:
    listed = [
        f"{show(str(text))} in {count_rows(int(rows), numbers.facts.rows)}"
        for text, rows in numbers.no_numbers.items()
        if not _is_usual(str(text))
    ]
    return [f"no numbers, so they count as null: {', '.join(listed[:5])}"] if listed else []


def _is_usual(text: str) -> bool:
    return text.casefold() in ("", "nan", "null", "<na>", "nat")


def _explain_units(numbers: Numbers) -> list[str]:
    units, notes = numbers.units, []
    total = units.sum()
    for unit, rows in units.items():
        if unit == "%" and rows == total:
            notes.append("per cent as written: 12% is 12")
        elif unit and rows == total:
            notes.append(f"amounts in {unit}")
        elif unit:
            notes.append(
                f"only {count_rows(int(rows), numbers.facts.rows)} have the sign "
                f"{quote(str(unit))}: is the rest in the same unit?"
            )
    return notes


def _find_doubts(numbers: Numbers, around: Surroundings) -> list[str]:
    found = []
    values, counts = pd.Series(numbers.values), numbers.spread.counts
    present = values.dropna()
    far = _find_far(counts)
    if far is not None:
        rows, rest = int(counts[far]), counts.index[counts.index != far]
        text, written = (
            str(column[values == far].mode()[0])
            for column in (numbers.facts.texts, numbers.facts.values)
        )
        found.append(
            f"{_plain(far)} in {count_rows(rows, numbers.facts.rows)}, far from the rest "
            f"({rest.min():.6g} to {rest.max():.6g}): if it means missing, "
            f"{around.advise_null(text, numbers.facts, written.strip())}"
        )
    if len(present) > _MANY and may_be_seconds(present):
        found.append("these could be seconds since 1970: if so, delete the column")
    if grows(present, around.windows.by_name[present.index]):
        found.append("grows from window to window, so it will drift in each: is it a counter?")
    return found


def _find_far(counts: pd.Series[int]) -> float | None:
    """A value that many rows share, beyond all others: -999, 9999, or 0 where 0 cannot be.

    `counts` has the rows of each number, from the lowest to the highest.
    """
    present = counts.sum()
    for far in (float(counts.index[0]), float(counts.index[-1])):
        rest = counts[counts.index != far]
        share = 1 - rest.sum() / present
        if not 0.01 <= share <= 0.8 or len(rest) < 5:
            continue
        low, high = float(rest.index[0]), float(rest.index[-1])
        gap = low - far if far < low else far - high
        nines = far == int(far) and set(f"{abs(far):.0f}") == {"9"}
        usual = float(rest.median()) / present
        if share > 3 * usual and (
            gap > high - low
            or (nines and far > 90 and gap > 0.1 * (high - low))
            or (far < 0 <= low and (nines or far == -1))
            or (far == 0 and gap > 0.25 * (high - low))
        ):
            return far
    return None


def _allow_odd(numbers: Numbers) -> list[str]:
    odd = numbers.no_numbers[[not says_nothing(text) for text in numbers.no_numbers.index]]
    share = odd.sum() / max(1, odd.sum() + numbers.units.sum())
    if share <= 0.005:
        return []
    return [
        f"max_bad_rate = {math.ceil(200 * share) / 100:g}  # of texts such as "
        f"{show(str(odd.index[0]))}"
    ]


def _outward(value: float) -> float:
    """Rounded away from zero to two digits."""
    if value == 0 or not math.isfinite(value):
        return 0.0 if value == 0 else math.copysign(1.7e308, value)
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return math.copysign(math.ceil(abs(value) / step - 1e-9) * step, value)


def _plain(value: float) -> str:
    return (
        f"{value:.0f}"
        if value == int(value) and abs(value) < 1e15
        else f"{float(f'{value:.6g}')!r}"
    )
