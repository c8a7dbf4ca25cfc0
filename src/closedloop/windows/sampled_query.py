"""The rows of queries, or a sample of them when there are many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from closedloop.windows.sql_source import Row, SqlSource, make_frame
from closedloop.windows.tables.row_sample import RowSample, RowSampler


@dataclass(frozen=True)
class QueryRows:
    """All rows of queries, in the order of the queries."""

    source: SqlSource
    queries: tuple[str, ...]

    def chunks(self, columns: Sequence[str], numeric: Sequence[str]) -> Iterator[pd.DataFrame]:
        """The rows of these columns, some at a time, with the types of the database.

        Raises SourceError when the database does not answer.
        """
        del numeric  # they are numbers already, or stay text
        for query in self.queries:
            for names, rows in self.source.ask_in_parts(query, "query"):
                yield make_frame(names, rows)[list(columns)]


def sample_query(
    source: SqlSource, query: str, where: str, sampler: RowSampler, whole: str | None = None
) -> RowSample:
    """Rows of one query, drawn by `sampler`, and of the column `whole` all values.

    Raises SourceError, at `where`, when the database does not answer.
    """
    kept, places, chances = list[Row](), np.zeros(0, dtype=np.int64), np.zeros(0)
    columns, number = list[Any](), 0
    names: tuple[str, ...] = ()
    for names, rows in source.ask_in_parts(query, where):
        drawn, stay = sampler.draw(len(rows))
        there = np.flatnonzero(stay)
        kept += [rows[place] for place in there]
        places, chances = np.append(places, number + there), np.append(chances, drawn[there])
        number += len(rows)
        if whole is not None and whole in names and rows:
            place = names.index(whole)
            columns.append(make_frame([whole], [(row[place],) for row in rows])[whole])
        if sampler.are_too_many(len(kept)):
            there = np.flatnonzero(sampler.cut(chances))
            kept, places, chances = [kept[place] for place in there], places[there], chances[there]
    column = pd.concat(columns, ignore_index=True) if columns else None
    return RowSample(make_frame(names, kept), number, places, chances, column)
