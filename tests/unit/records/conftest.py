"""A use case and answered requests of it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from closedloop.records.request import AnsweredRequest
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case
from tests.answers import describe_answers


@pytest.fixture
def use_case(tmp_path: Path) -> UseCase:
    content = {
        "name": "shop",
        "key": "customer",
        "target": {"column": "label", "classes": ["False", "True"]},
        "source": {"query": "select 1", "windows": "*.csv"},
        "columns": {"spend": {"type": "numeric"}, "plan": {"type": "categorical"}},
    }
    return parse_use_case(content, tmp_path / "loop.toml")


def answered(
    request: str,
    *,
    key: str | None = None,
    at: datetime | None = None,
    use_case: str = "shop",
    spend: float | None = 1.5,
) -> AnsweredRequest:
    """A request of one row."""
    features, probabilities = {"spend": [spend], "plan": ["gold"]}, {"False": [0.2], "True": [0.8]}
    return describe_answers(
        use_case, 3, features, probabilities, request=request, keys=[key] if key else (), at=at
    )


def many(request: str, rows: int, keys: list[str | None] | None = None) -> AnsweredRequest:
    """A request whose rows spend 0.0, 1.0, 2.0 and so on."""
    features = {"spend": [float(row) for row in range(rows)], "plan": ["gold"] * rows}
    return describe_answers(
        "shop",
        3,
        features,
        {"False": [0.2] * rows, "True": [0.8] * rows},
        request=request,
        keys=keys or (),
    )
