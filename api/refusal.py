"""`Refusal`: the answer to a request that cannot be served, with the faults found in it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

MAX_FAULTS = 100


class Refusal(Exception):
    """Any answer but a success: status, the `detail` of its body, when to retry, more headers."""

    def __init__(
        self,
        status: int,
        detail: str | list[dict[str, Any]],
        retry_seconds: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status, self.detail = status, detail
        self.headers = {
            **(headers or {}),
            **({} if retry_seconds is None else {"retry-after": str(retry_seconds)}),
        } or None
        super().__init__(f"{status}: {detail}")


def fault(loc: Sequence[str | int], message: str, type: str = "value_error") -> dict[str, Any]:
    """One entry in the `detail` of a 422, as FastAPI documents it."""
    return {"loc": ["body", *loc], "msg": message, "type": type}


def show(value: Any) -> str:
    """A value as JSON, cut at 80 characters."""
    if isinstance(value, float) and not math.isfinite(value):
        return "a number too large to hold"
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    shown = (
        json.dumps(value, ensure_ascii=False)
        if not isinstance(value, int) or abs(value) < 10**80
        else "a number too large to hold"
    )
    return shown if len(shown) <= 80 else shown[:77] + "..."
