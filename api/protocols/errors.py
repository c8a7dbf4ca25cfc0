"""Refusals in the form of a protocol: one sentence, and routes that answer with it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.refusal import Refusal

_MAX_DESCRIBED = 5


def describe_refusal(refusal: Refusal) -> str:
    """The faults of a refusal in one line: place, what was wanted, what came."""
    if isinstance(refusal.detail, str):
        return refusal.detail
    described = [_describe(fault) for fault in refusal.detail[:_MAX_DESCRIBED]]
    if len(refusal.detail) > _MAX_DESCRIBED:
        described.append(f"and {len(refusal.detail) - _MAX_DESCRIBED} more faults")
    return "; ".join(described)


def _describe(fault: dict[str, Any]) -> str:
    place = [
        f"row {part}" if isinstance(part, int) else str(part)
        for part in fault["loc"]
        if part not in ("body", "rows")
    ]
    return f"{', '.join(reversed(place))}: {fault['msg']}" if place else str(fault["msg"])


def route_with_refusals(refuse: Callable[[Refusal], Response]) -> type[APIRoute]:
    """A class of routes that answer a Refusal with `refuse`."""

    class Route(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            answer = super().get_route_handler()

            async def handle(request: Request) -> Response:
                try:
                    return await answer(request)
                except Refusal as refusal:
                    return refuse(refusal)

            return handle

    return Route
