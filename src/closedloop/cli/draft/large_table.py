"""A table of more rows than are looked at one by one: what is known of it after one more pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.cli.draft.classes import Classes
from closedloop.cli.draft.columns import may_be_key
from closedloop.cli.draft.dates import describe_time, describe_written_time
from closedloop.cli.draft.facts import Counts, Facts, RowWindows, write_texts
from closedloop.cli.draft.feature import looks_like_index
from closedloop.cli.draft.known_table import KnownTable, Named
from closedloop.cli.draft.nested import describe_nested
from closedloop.cli.draft.numbers import Numbers
from closedloop.cli.draft.policy import ClassCounts, Minimums, choose_minimums
from closedloop.cli.draft.tally import NumberTally, TextTally
from closedloop.cli.draft.tally_rows import GroupTally, JudgingRows, KeyTally
from closedloop.errors import SourceError
from closedloop.windows.prepare import select_column
from closedloop.windows.spelling import read_category, says_nothing
from closedloop.windows.time_names import in_time_order

_MANY_TEXTS = 10_000  # different ones in a sample
_WATCHED = 500  # of the most frequent texts, which may say that there is no value


class Rows(Protocol):
    """Rows that can be read again, in the same order."""

    def chunks(self, columns: Sequence[str], numeric: Sequence[str]) -> Iterator[pd.DataFrame]:
        """The rows of these columns, some at a time; those in `numeric` as numbers, if they are."""


@dataclass(frozen=True)
class EveryRow:
    """All rows of a table of which a sample was looked at, at these `places`.

    `runs` are windows and the rows that follow each other in them, if no column cuts the rows;
    `whole` is that column with all its values, if one does. When rows are read again they come
    `in_order`, or in any.
    """

    rows: Rows
    places: NDArray[np.int64]
    runs: tuple[tuple[str, int], ...]
    whole: pd.Series[Any] | None
    in_order: bool = True

    def in_runs(self) -> LargeTable:
        """The table in the windows of its files or queries."""
        window_of = np.repeat(np.arange(len(self.runs), dtype=np.int32), [n for _, n in self.runs])
        return LargeTable(self.rows, window_of, tuple(name for name, _ in self.runs), self.places)

    def in_windows(self, of_row: pd.Series[Any], inside: NDArray[np.bool_]) -> LargeTable:
        """The table in windows with these names, null for none.

        `inside` says which of the rows looked at are in one.
        """
        codes, names = pd.factorize(of_row)
        named = tuple(str(name) for name in names)
        table = LargeTable(self.rows, codes.astype(np.int32), named, self.places[inside])
        if self.in_order or self.whole is None:
            return table
        cut_by = self.whole[~self.whole.duplicated() & self.whole.notna()]
        code_of = pd.Series(table.window_of[cut_by.index], index=pd.Index(cut_by))
        return replace(table, code_of=code_of)


@dataclass(frozen=True)
class LargeTable:
    """All rows of a table; `window_of` is the place of each one's window in `names`, or -1.

    `places` are those of the rows looked at, among all. Where rows do not come in one order,
    `code_of` has the place of the window for each value of the column of its name.
    """

    rows: Rows
    window_of: NDArray[np.int32]
    names: tuple[str, ...]
    places: NDArray[np.int64]
    code_of: pd.Series[Any] | None = None

    @cached_property
    def rows_of_windows(self) -> Counts:
        """How many rows each window has."""
        return np.bincount(self.window_of[self.window_of >= 0], minlength=len(self.names))

    def tell(self, looked_at: int) -> str:
        """What was looked at, in words."""
        return (
            f"looked at a sample of {looked_at:,} of {self.rows_of_windows.sum():,} rows; counts, "
            "ranges, nulls and keys are of all"
        )

    def windows(self) -> RowWindows:
        """The windows, and that of each row looked at."""
        codes = self.window_of[self.places]
        of_row = pd.Series(np.array(self.names, dtype=object)[codes])
        return RowWindows(of_row, self.names, self.rows_of_windows)

    def read(
        self, columns: Sequence[str], numeric: Sequence[str] = ()
    ) -> Iterator[tuple[pd.DataFrame, Counts]]:
        """Chunks of the rows that are in a window, and the place of each one's window.

        Raises SourceError when there are not as many rows as before.
        """
        first, by = 0, [] if self.code_of is None else [str(self.code_of.index.name)]
        for chunk in self.rows.chunks(list(dict.fromkeys([*columns, *by])), numeric):
            codes = self.window_of[first : first + len(chunk)]
            first += len(chunk)
            if len(codes) < len(chunk):
                break
            if self.code_of is not None:
                there = self.code_of.index.get_indexer(pd.Index(chunk[by[0]]))
                codes = np.where(there < 0, -1, self.code_of.to_numpy()[there]).astype(np.int32)
            inside = codes >= 0
            whole = bool(inside.all())
            chunk = (chunk if whole else chunk[inside]).reset_index(drop=True)
            if len(chunk):
                yield chunk, codes if whole else codes[inside]
        if first != len(self.window_of):
            raise SourceError(
                where="init",
                wanted=f"the {len(self.window_of):,} rows that the table had a moment ago",
                got=f"{first:,} rows or more",
                then="wait until nobody writes to it, and run init again",
            )

    def first_window(self) -> int:
        """The place of the first window that is no fragment, by the number of its rows."""
        rows = dict(zip(self.names, self.rows_of_windows, strict=True))
        there = {name: many for name, many in rows.items() if many}
        usual = float(np.median(list(there.values())))
        first = next(name for name in in_time_order(there) if there[name] >= usual / 2)
        return self.names.index(first)


def count_rows(table: LargeTable, looked: KnownTable, named: Named) -> KnownTable:
    """What all rows say, with what a sample of them has shown.

    The kinds of columns are those of the sample; counts, ranges, nulls, keys and minimums are of
    all rows.
    """
    counting = _Counting(table, looked, named)
    counting.run()
    numbers = {name: counting.numbers(name) for name in looked.facts}
    facts = {
        name: found.facts if (found := numbers[name]) and not found.codes else counting.facts(name)
        for name in looked.facts
    }
    return replace(
        looked,
        facts=facts,
        numbers=numbers,
        target=counting.facts(named.target),
        repeats=lambda column: counting.keys[column].repeats(),
        minimums=counting.minimums,
    )


class _Counting:
    """One pass over all rows, and what it has found."""

    def __init__(self, table: LargeTable, looked: KnownTable, named: Named) -> None:
        self._table, self._looked, self._named = table, looked, named
        many = len(table.names)
        self._target = TextTally(many, every=True)
        self._numbers = {
            name: NumberTally(many, in_order=looks_like_index(name))
            for name, found in looked.numbers.items()
            if found is not None and not found.codes
        }
        self._texts = {
            name: TextTally(
                many,
                [text for text in facts.counts.index[:_WATCHED] if says_nothing(text)],
                many=len(facts.counts) > _MANY_TEXTS,
            )
            for name, facts in looked.facts.items()
            if name not in self._numbers and not _is_left_out(facts, looked.numbers[name])
        }
        keys = [named.key] if named.key else filter(may_be_key, looked.facts)
        self.keys = {name: KeyTally() for name in keys}
        self._groups = GroupTally()
        self._judging = JudgingRows(table.first_window())

    def run(self) -> None:
        """Count all rows."""
        group = [self._named.group] if self._named.group else []
        keys, target = [*self.keys, *group], self._named.target
        numeric = [name for name in self._numbers if name not in self.keys]
        columns = dict.fromkeys([target, *keys, *self._numbers, *self._texts])
        for chunk, windows in self._table.read(list(columns), numeric):
            labels = write_texts(select_column(chunk, target))
            self._target.add(labels, windows)
            for tallies in (self._numbers, self._texts, self.keys):
                for name, tally in tallies.items():
                    tally.add(select_column(chunk, name), windows)
            if self._named.group:
                self._groups.add(chunk[self._named.group], labels, windows)
            self._judging.add(labels, windows, chunk[list(dict.fromkeys(keys))])

    def facts(self, name: str) -> Facts:
        """What is known of a column, or of the target."""
        rows = int(self._table.rows_of_windows.sum())
        if name == self._named.target:
            return self._target.complete(self._looked.target, rows)
        sample = self._looked.facts[name]
        if name not in self._texts:
            return sample
        found = self._texts[name].complete(sample, rows)
        different = name in self.keys and self.keys[name].different
        if found.complete or name not in self.keys:
            return found
        return replace(found, distinct=rows if different else min(found.distinct, rows - 1))

    def numbers(self, name: str) -> Numbers | None:
        """The numbers of a column."""
        sample = self._looked.numbers[name]
        if sample is None or name not in self._numbers:
            return sample
        different = self.keys[name].different if name in self.keys else None
        return self._numbers[name].complete(
            sample, self._table.rows_of_windows, different=different
        )

    def minimums(self, classes: Classes, key: str | None) -> Minimums:
        """The minimums that the windows of all rows can meet."""
        read, names = read_category(classes.names), self._table.names
        spelled = {text: read(text) for text in self._target.in_windows}
        label_of = {text: label for text, label in spelled.items() if label in classes.names}
        rows = pd.DataFrame(0, index=list(names), columns=list(classes.names))
        for text, label in label_of.items():
            rows[label] += self._target.in_windows[text]
        rows = rows[rows.sum(axis=1) > 0]
        groups = None
        if self._named.group:
            found = self._groups.counts(label_of).unstack(fill_value=0)
            found.index = pd.Index([names[place] for place in found.index])
            groups = found.reindex(index=rows.index, columns=rows.columns, fill_value=0)
        counted = ClassCounts(rows, groups)
        first = names.index(counted.first_window())
        judging = self._judging
        if judging.window != first:
            judging = self._read_judging(first, key)
        return choose_minimums(counted, judging.judging(label_of, key, self._named.group))

    def _read_judging(self, window: int, key: str | None) -> JudgingRows:
        """The rows of another window than most rows spoke for: in that one few had a label."""
        judging, target = JudgingRows(window), self._named.target
        beside = [name for name in dict.fromkeys([key, self._named.group]) if name]
        for chunk, windows in self._table.read(list(dict.fromkeys([target, *beside]))):
            judging.add(write_texts(select_column(chunk, target)), windows, chunk[beside])
        return judging


def _is_left_out(facts: Facts, numbers: Numbers | None) -> str:
    """Why nothing has to be counted of a column: what it is says that it is no feature."""
    return (
        describe_nested(facts.values)
        or describe_time(facts.values)
        or ("" if numbers is not None else describe_written_time(facts.counts))
    )
