"""Counts of the values of a column over all rows of a large table, chunk by chunk.

The memory that they need does not grow with the table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.cli.draft.facts import Counts, Facts, Spread, write_texts
from closedloop.cli.draft.numbers import Numbers
from closedloop.use_case.contract import MISSING
from closedloop.windows.prepare import read_numbers
from closedloop.windows.spelling import NULLS, spell_category
from closedloop.windows.written_numbers import read_amount, read_number

# Different texts, or numbers, that are counted one by one; of more a sample has to do.
MOST_TEXTS, _MOST_NUMBERS = 100_000, 1_000
_SKETCH = 16_384


class TextTally:
    """How many rows have each text, and in which windows the words for null are.

    With `many` texts only words for null and the `watched` ones are counted, and the number of
    different texts is estimated. With `every` all texts are counted in each window.
    """

    def __init__(
        self, windows: int, watched: Iterable[str] = (), *, every: bool = False, many: bool = False
    ) -> None:
        self._windows, self._every, self._many = windows, every, many
        self._watched = NULLS | {text.casefold() for text in watched}
        self._numbers: dict[Any, int] = {}
        self._texts: dict[str, int] = {}
        self._rows = np.zeros(0, dtype=np.int64)
        self._sketch = np.zeros(0, dtype=np.uint64)
        self.in_windows: dict[str, NDArray[np.int64]] = {MISSING: np.zeros(windows, np.int64)}

    def add(self, values: pd.Series[Any], windows: Counts) -> None:
        """Count the rows of a chunk."""
        texts = values if isinstance(values.dtype, pd.StringDtype) else write_texts(values)
        if self._many:
            odd = (texts.isna() | texts.str.strip().str.lower().isin(self._watched)).to_numpy()
            self._rows = self._count(texts[odd], windows[odd])
            self._estimate(texts[~odd].unique())
            return
        self._rows = self._count(texts, windows)
        if len(self._texts) > MOST_TEXTS:
            self._many = True
            self._estimate(list(self._texts))

    def _count(self, texts: pd.Series[Any], windows: Counts) -> NDArray[np.int64]:
        codes, distinct = pd.factorize(texts)
        numbers = np.array([self._number(text) for text in (*distinct, None)], dtype=np.int64)
        of_row = numbers[codes]
        here = set(numbers.tolist())
        for text, found in self.in_windows.items():
            if (number := self._texts.get(text)) in here:
                found += np.bincount(windows[of_row == number], minlength=self._windows)
        rows = np.bincount(of_row, minlength=len(self._texts))
        rows[: len(self._rows)] += self._rows
        return rows

    def _number(self, value: Any) -> int:
        """The number of the text that a value is."""
        number = self._numbers.get(value)
        if number is None:
            text = spell_category(value)
            number = self._numbers[value] = self._texts.setdefault(text, len(self._texts))
            every = self._every and len(self._texts) <= _MOST_NUMBERS
            if every or text.casefold() in self._watched:
                self.in_windows.setdefault(text, np.zeros(self._windows, np.int64))
        return number

    def _estimate(self, texts: Any) -> None:
        """Keep the smallest hashes: the k-th of n random ones lies at about k / n of all."""
        found = pd.util.hash_array(np.asarray(texts, dtype=object), categorize=False)
        if len(self._sketch) == _SKETCH:
            found = found[found < self._sketch[-1]]
        self._sketch = np.unique(np.concatenate([self._sketch, found]))[:_SKETCH]

    @property
    def distinct(self) -> int:
        """How many different texts there are, about if they are many."""
        if not self._many:
            return len(self.counts())
        if len(self._sketch) < _SKETCH:
            return len(self._sketch)
        about = (_SKETCH - 1) * 2.0**64 / float(self._sketch[-1])
        return int(float(f"{about:.2g}"))

    def counts(self) -> pd.Series[int]:
        """The rows of each text that was counted, most frequent first."""
        counts = pd.Series(self._rows, index=pd.Index(list(self._texts), dtype=object))
        counts = counts[(counts > 0) & (counts.index != MISSING)]
        return counts.sort_values(ascending=False, kind="stable")

    def complete(self, sample: Facts, rows: int) -> Facts:
        """The facts of all `rows`, of which some were looked at."""
        counts, distinct = self.counts(), self.distinct
        if self._many:
            scaled = _scale(sample.counts, rows / sample.rows)
            counted = counts[counts.index.isin(list(self.in_windows))]
            counts = pd.concat([counted, scaled[~scaled.index.isin(counted.index)]])
            counts = counts.sort_values(ascending=False, kind="stable")
            distinct = max(distinct, sample.distinct)
        words = (word for word in self.in_windows if word == MISSING or word.casefold() in NULLS)
        nulls = {word: self.in_windows[word] for word in words}
        return replace(
            sample,
            rows=rows,
            counts=counts,
            distinct=distinct,
            nulls=nulls,
            complete=not self._many,
        )


class NumberTally:
    """The range of the numbers of a column, what is no number, and how they go on row by row.

    `in_order` counts the rows with a higher number than the row before.
    """

    def __init__(self, windows: int, *, in_order: bool = False) -> None:
        self._windows, self._in_order = windows, in_order
        self._counts: dict[float, int] = {}
        self._many = False
        self._present = np.zeros(windows, dtype=np.int64)
        self._missing = np.zeros(windows, dtype=np.int64)
        self._amounts: dict[Any, tuple[float, str]] = {}
        self._units: dict[str, int] = {}
        self._no_numbers: dict[str, int] = {}
        self._last: float | None = None
        self._whole = self._by_one = True
        self._growing = self._rows = 0

    def add(self, values: pd.Series[Any], windows: Counts) -> None:
        """Count the rows of a chunk."""
        numbers = self._read(values)
        there = ~np.isnan(numbers)
        missing = values.isna().to_numpy() if values.dtype.kind != "f" else ~there
        present = numbers[there]
        self._missing += np.bincount(windows[missing], minlength=self._windows)
        self._present += np.bincount(windows[there], minlength=self._windows)
        if self._in_order or self._by_one:
            before = [] if self._last is None else [self._last]
            steps = np.diff(np.concatenate([before, numbers]))
            self._growing += int(np.sum(steps > 0))
            self._by_one = self._by_one and bool(np.all(steps == 1))
            self._last = float(numbers[-1])
        self._whole = self._whole and not np.any(present % 1)
        self._rows += len(numbers)
        self._count(present)

    def _count(self, present: NDArray[np.float64]) -> None:
        """The rows of each number; of too many, those of the two lowest and the two highest."""
        if not len(present):
            return
        if not self._many:
            found, rows = np.unique(present, return_counts=True)
        else:
            ends = [present.min(), present.max()]
            inner = present[(present > ends[0]) & (present < ends[1])]
            ends += [inner.min(), inner.max()] if len(inner) else []
            found = np.unique(ends)
            rows = np.array([np.sum(present == number) for number in found])
        for number, many in zip(found.tolist(), rows.tolist(), strict=True):
            self._counts[number] = self._counts.get(number, 0) + many
        self._many = self._many or len(self._counts) > _MOST_NUMBERS
        if self._many:
            ordered = sorted(self._counts)
            self._counts = {
                number: self._counts[number] for number in (*ordered[:2], *ordered[-2:])
            }

    def _read(self, values: pd.Series[Any]) -> NDArray[np.float64]:
        """The numbers of a chunk, NaN where there is none; what Arrow cannot read is counted."""
        if pd.api.types.is_numeric_dtype(values):
            return read_numbers(values)
        quick = pd.to_numeric(values, errors="coerce")
        numbers = quick.to_numpy(np.float64, na_value=np.nan, copy=True)
        odd = ~np.isfinite(numbers) & values.notna().to_numpy()
        codes, distinct = pd.factorize(values[odd])
        amounts = [self._read_amount(value) for value in distinct]
        numbers[odd] = np.array([amount for amount, _ in amounts])[codes] if len(codes) else []
        for value, (amount, unit), rows in zip(
            distinct, amounts, np.bincount(codes, minlength=len(distinct)).tolist(), strict=True
        ):
            text = spell_category(value)
            if math.isfinite(amount):
                self._units[unit] = self._units.get(unit, 0) + rows
            elif text != MISSING and (
                text in self._no_numbers or len(self._no_numbers) < MOST_TEXTS
            ):
                self._no_numbers[text] = self._no_numbers.get(text, 0) + rows
        numbers[~np.isfinite(numbers)] = np.nan
        return numbers

    def _read_amount(self, value: Any) -> tuple[float, str]:
        found = self._amounts.get(value)
        if found is None:
            found = read_amount(value) if isinstance(value, str) else (read_number(value), "")
            if len(self._amounts) < MOST_TEXTS:
                self._amounts[value] = found
        return found

    def complete(self, sample: Numbers, rows: Counts, *, different: bool | None) -> Numbers:
        """The numbers of all rows, `rows` in each window, of which some were looked at.

        `different` says whether every row has a number of its own, if that was found out.
        """
        table, found = int(rows.sum()), pd.Series(self._counts, dtype=np.int64).sort_index()
        counts = found
        if self._many:
            scaled = _scale(sample.spread.counts, table / sample.facts.rows)
            counts = pd.concat([found, scaled[~scaled.index.isin(found.index)]]).sort_index()
        if different is None:
            different = self._by_one or sample.spread.different
        spread = Spread(
            counts=counts,
            nulls=rows - self._present,
            whole=self._whole,
            different=bool(different) and int(self._present.sum()) == table,
            by_one=self._by_one,
            growing=self._growing / max(1, self._rows - 1),
        )
        facts = replace(
            sample.facts,
            rows=table,
            distinct=max(len(counts), sample.facts.distinct),
            nulls={**self._null_words(sample.facts), MISSING: self._missing},
        )
        if not len(sample.units):  # of a column whose type is a number
            return replace(sample, facts=facts, spread=spread)
        plain = int(self._present.sum()) - sum(self._units.values())
        units = {**self._units, "": plain + self._units.get("", 0)}
        return replace(
            sample,
            facts=facts,
            spread=spread,
            units=_in_order({unit: many for unit, many in units.items() if many}),
            no_numbers=_in_order(self._no_numbers),
        )

    def _null_words(self, sample: Facts) -> dict[str, Counts]:
        """Words for null among the numbers; how many they are in a window is not asked."""
        words = (text for text in self._no_numbers if text.casefold() in NULLS)
        return dict.fromkeys(words, np.ones(self._windows, dtype=np.int64)) | dict(sample.nulls)


def _scale(counts: pd.Series[int], times: float) -> pd.Series[int]:
    """Rows of a sample as rows of the table."""
    return (counts * times).round().clip(lower=1).astype(np.int64)


def _in_order(rows: dict[str, int]) -> pd.Series[int]:
    found = pd.Series(rows, index=pd.Index(list(rows), dtype=object), dtype=np.int64)
    return found.sort_values(ascending=False, kind="stable")
