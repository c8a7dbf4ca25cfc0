"""Labels that are none of the classes in loop.toml: how many, and what to do about them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from closedloop.use_case.contract import MISSING, Target, UseCase
from closedloop.windows.prepare import read_categories, select_column

_SHOWN = 3
_MOST_SPELLINGS, _OTHERS = 100_000, "(others)"


@dataclass(frozen=True)
class UnknownLabels:
    """How many of the labels `given` are no class, by spelling, the most frequent first."""

    given: int
    spellings: Mapping[str, int]

    @property
    def rows(self) -> int:
        """Rows whose label is no class."""
        return sum(self.spellings.values())

    @property
    def share(self) -> float:
        """Their share of all labels."""
        return self.rows / self.given if self.given else 0.0

    def __add__(self, other: UnknownLabels) -> UnknownLabels:
        """Those of two parts of a window; of very many spellings the first ones are told apart."""
        counts = Counter(self.spellings)
        for name, rows in other.spellings.items():
            counts[name if name in counts or len(counts) < _MOST_SPELLINGS else _OTHERS] += rows
        return UnknownLabels(self.given + other.given, dict(counts.most_common()))

    def __str__(self) -> str:
        shown = list(self.spellings.items())[:_SHOWN]
        more = len(self.spellings) - len(shown)
        named = ", ".join(f"{name[:40]!r} ({count} rows)" for name, count in shown)
        return named + (f" and {more} more" if more else "")


def count_unknown_labels(
    raw: pd.DataFrame, prepared: pd.DataFrame, use_case: UseCase
) -> UnknownLabels:
    """The labels of a window that are no class; a missing label is none."""
    name = use_case.target.column
    if name not in raw.columns:
        return UnknownLabels(0, {})
    spelled: pd.Series[Any] = pd.Series(read_categories(select_column(raw, name)), dtype=object)
    given = spelled != MISSING
    unknown = spelled[given & prepared[name].isna().to_numpy()]
    counts = {str(label): int(count) for label, count in unknown.value_counts().items()}
    return UnknownLabels(int(given.sum()), counts)


def tell_left_out(unknown: UnknownLabels, target: Target) -> tuple[str, ...]:
    """A sentence for people about rows that are left out for their label; empty without any."""
    if not unknown.rows:
        return ()
    return (
        f"{unknown.rows:,} of {unknown.given:,} labels are none of the classes and their rows are "
        f"left out: {unknown}; {tell_how_to_add(unknown, target)}",
    )


def tell_how_to_add(unknown: UnknownLabels, target: Target) -> str:
    """The line of loop.toml that makes the most frequent unknown label a class."""
    classes = json.dumps([*target.classes, *list(unknown.spellings)[:1]], ensure_ascii=False)
    return f"a new class is added with classes = {classes} under [target], then train again"
