"""The rows of a page of requests: their ids, keys and labels, and which of them were erased."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from closedloop.records.answer_pages import AnswerPage
from closedloop.records.request import read_forgotten
from closedloop.records.stored_columns import (
    Column,
    Values,
    not_whole,
    read_lines,
    take_lists,
    take_texts,
)


def find_kept(page: AnswerPage) -> NDArray[np.bool_]:
    """Which rows of a page were not erased."""
    kept, first = np.full(int(page.rows.sum()), True), np.cumsum(page.rows) - page.rows
    for place, written in enumerate(page.forgotten):
        if written is not None:
            kept[first[place] + sorted(read_forgotten(written))] = False
    return kept


def number_rows(page: AnswerPage) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each row of a page: the place of its request, and its number in the request."""
    of_request = np.repeat(np.arange(len(page.rows)), page.rows)
    return of_request, np.arange(len(of_request)) - (np.cumsum(page.rows) - page.rows)[of_request]


def name_rows(page: AnswerPage) -> Any:
    """The ids of a page's predictions, as Arrow's texts."""
    of_request, numbers = number_rows(page)
    requests = pa.array(page.requests, pa.string()).take(pa.array(of_request))
    return join_ids(requests, pa.array(numbers))


def join_ids(requests: Any, numbers: Any) -> Any:
    """The ids of predictions, as `request.name_prediction` has them."""
    padded = pc.utf8_lpad(pc.cast(numbers, pa.string()), 6, "0")
    return pc.binary_join_element_wise(requests, padded, "-")


def decode_sent_keys(page: AnswerPage) -> Values:
    """The keys of a page's rows; None where none was sent."""
    written = [keys or "null" for keys in page.row_keys]
    lines = '{"k":' + '}\n{"k":'.join(written) + "}"
    lists = read_lines(lines, max(map(len, written)) + 6, {"k": pa.string()})
    keys = None if lists is None else take_lists(lists.column("k"), page.rows)
    if keys is None or keys.others is None:
        raise not_whole(page, "keys that are none")
    return keys.others


def decode_keys(page: AnswerPage) -> Values:
    """The keys of a page's rows; the id of the prediction where none was sent."""
    keys = decode_sent_keys(page)
    return fill_keys(keys, name_rows(page)) if pd.isna(keys).any() else keys


def fill_keys(keys: Values, ids: Any) -> Values:
    """The keys, and the ids where there is none."""
    without = pd.isna(keys)
    keys[without] = take_texts(ids.filter(pa.array(without)))
    return keys


def place_labels(labels: tuple[Sequence[str], Sequence[str]], ids: Any) -> Column:
    """The labels of the predictions with these ids, in their order."""
    labelled, given = labels
    if not labelled:
        return Column()
    places = pc.index_in(pa.array(labelled, pa.string()), ids)
    known = places.is_valid().to_numpy(zero_copy_only=False)
    placed = np.full(len(ids), None, dtype=object)
    placed[places.drop_null().to_numpy()] = take_texts(pa.array(given, pa.string()))[known]
    return Column(others=placed)
