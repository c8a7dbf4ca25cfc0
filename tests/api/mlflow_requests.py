"""Requests of MLflow's scoring protocol."""

from __future__ import annotations

import csv
import io
from typing import Any

from fastapi.testclient import TestClient

Service = Any  # tests/api/conftest.py
COLUMNS = ["monthly spend", "visits", "plan", "returning"]
ROWS: list[dict[str, Any]] = [
    {"monthly spend": 20.5, "visits": 3, "plan": "gold", "returning": "True"},
    {"monthly spend": 412.25, "visits": -7.5, "plan": "basic", "returning": "False"},
    {"monthly spend": 0.0, "visits": 90, "plan": "never seen", "returning": "True"},
]
RECORD = ROWS[0]


def ask(client: TestClient, content: str | bytes, form: str = "application/json") -> Any:
    return client.post("/invocations", content=content, headers={"content-type": form})


def write_csv(*lines: list[Any]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(lines)
    return written.getvalue()
