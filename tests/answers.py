"""Answered requests from plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from closedloop.records.request import AnsweredRequest, make_request_id, to_json


def describe_answers(
    use_case: str,
    version: int,
    features: Mapping[str, Sequence[float | str | None]],
    probabilities: Mapping[str, Sequence[float]],
    *,
    request: str | None = None,
    keys: Sequence[str | None] = (),
    at: datetime | None = None,
) -> AnsweredRequest:
    """A request from features by column and probabilities by class, one value per row.

    It gets a new id unless `request` is given.
    """
    rows = len(next(iter(probabilities.values())))
    return AnsweredRequest(
        request or make_request_id(),
        use_case,
        version,
        rows,
        to_json(features),
        to_json(probabilities),
        keys,
        at,
    )
