"""What the draft says about one column, what it knows of the table around it, and its words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from closedloop.cli.draft.facts import Facts, RowWindows
from closedloop.use_case.toml_text import quote
from closedloop.windows.spelling import NULLS

_SHOWN = 40  # characters of a value in a comment
_ID_LIKE = re.compile(r"(^|[\s_.-])(id|key|uuid|guid|nr|number)$", re.IGNORECASE)
_CAMEL_ID = re.compile(r"[a-z](Id|ID)$")
# What programs name an index that was written as a column, and what may be one.
_INDEX = re.compile(
    r"|unnamed: ?\d+(\.\d+)?|__index_level_\d+__|level_0|_c0|\.\.\.1", re.IGNORECASE
)
_INDEX_LIKE = re.compile(
    r"index|column0*|_c0|#|row_?(id|names?|num(ber)?|nr|index)?s?", re.IGNORECASE
)


@dataclass(frozen=True)
class Feature:
    """One column in the draft: its TOML lines, or why it is left out; `notes` are told to the user.

    The first line is its type.
    """

    name: str
    lines: tuple[str, ...] = ()
    left_out: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """What the rest of a table says about a column.

    `positive` tells which of the rows looked at have the last class, `columns` is what is known of
    each. `null_words` are the spellings of null, in lower case, that count as null.
    """

    windows: RowWindows
    positive: pd.Series[bool]
    columns: Mapping[str, Facts]
    null_words: frozenset[str] = NULLS

    def advise_null(self, text: str, column: Facts, written: str = "") -> str:
        """How to make a text null that may mean missing: a setting, if no other column has it.

        `written` is how the file spells it, if that is not `text`.
        """
        others = (other for other in self.columns.values() if other.texts is not column.texts)
        if any(text in other.counts.index for other in others):
            return "make it null in the data"
        return (
            f"make it null (of CSV files: null_values = [{show(written or text)}] under [source])"
        )


def looks_like_id(name: str) -> bool:
    """Whether a column of this name usually identifies rows."""
    return bool(_ID_LIKE.search(name) or _CAMEL_ID.search(name))


def looks_like_index(name: str) -> bool:
    """Whether a column of this name may be the index of a frame, or the number of a row."""
    return is_named_index(name) or bool(_INDEX_LIKE.fullmatch(name.strip()))


def is_named_index(name: str) -> bool:
    """Whether only programs give this name: '', 'Unnamed: 0', '__index_level_0__'."""
    return bool(_INDEX.fullmatch(name.strip()))


def show(text: str) -> str:
    """A value as a TOML string, cut to fit into a comment."""
    return quote(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def count_rows(rows: int, of: int) -> str:
    """For example '24 rows (2 %)'."""
    return f"{rows:,} row{'s' if rows != 1 else ''} ({100 * rows / of:.2g} %)"


def limit_nulls(rate: float) -> list[str]:
    """The line that allows somewhat more nulls than were seen; none where none were."""
    limit = min(1.0, math.ceil(100 * (1.5 * rate + 0.05)) / 100)
    return [f"max_null_rate = {limit:g}  # seen: {rate:.3g}"] if rate else []
