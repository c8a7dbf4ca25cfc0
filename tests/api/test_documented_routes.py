"""docs/api.md lists the routes that there are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from closedloop.shadow.live import LiveShadow

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def test_every_route_is_documented_and_nothing_else(empty_service: Any) -> None:
    """The table of docs/api.md and the OpenAPI page name the same methods and paths."""
    listed = re.findall(r"^\| `([A-Z]+ /\S+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    paths = empty_service.app.openapi()["paths"]
    answered = [f"{method.upper()} {path}" for path, about in paths.items() for method in about]
    assert sorted(listed) == sorted(answered)


def test_every_metric_that_is_documented_exists(make_service: Callable[..., Any]) -> None:
    """A metric that docs/api.md names is one that /metrics of a service with a shadow knows."""

    def nobody(*_asked: Any) -> Any:
        return None

    service = make_service(shadow=LiveShadow("shop", nobody, nobody, nobody))
    named = set(re.findall(r"closedloop_[a-z_]+", PAGE.read_text(encoding="utf-8")))
    text = service.client.get("/metrics").text
    # Prometheus' client names a counter without its ending in the line that describes it.
    assert {name for name in named if f" {name.removesuffix('_total')}" not in text} == set()
