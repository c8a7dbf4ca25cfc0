"""Which version answered a prediction, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from closedloop.records.labels import UnknownPrediction
from closedloop.records.request import read_forgotten, split_prediction_id
from closedloop.records.tables import ANSWERS


@dataclass(frozen=True)
class FoundAnswer:
    """The version that answered a request, and when."""

    version: int
    at: datetime


def find_answer(connection: Connection, id: str, use_case: str) -> FoundAnswer:
    """The request that a prediction was part of; raises UnknownPrediction for another id."""
    if (split := split_prediction_id(id)) is not None:
        request, row = split
        query = select(ANSWERS.c.version, ANSWERS.c.at, ANSWERS.c.forgotten).where(
            ANSWERS.c.request == request, ANSWERS.c.use_case == use_case, ANSWERS.c.rows > row
        )
        found = connection.execute(query).first()
        if found is not None and row not in read_forgotten(found.forgotten):
            return FoundAnswer(found.version, found.at)
    raise UnknownPrediction(
        where="records",
        wanted=f"the id of a prediction of {use_case}",
        got=repr(id[:80]),
        then="send one that /predict answered; predictions that were pruned or erased are gone",
    )
