"""Refusals in the words of a protocol: one sentence for a body that holds only a text, and routes
that know how to say it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.refusal import Refusal

_FAULTS_SAID = 5


def say_all(refusal: Refusal) -> str:
    """The faults of a refusal as one line: where in the rows, what was wanted, what came."""
    if isinstance(refusal.detail, str):
        return refusal.detail
    said = [_say(one) for one in refusal.detail[:_FAULTS_SAID]]
    if len(refusal.detail) > _FAULTS_SAID:
        said.append(f"and {len(refusal.detail) - _FAULTS_SAID} more faults")
    return "; ".join(said)


def _say(one: dict[str, Any]) -> str:
    place = [
        f"row {part}" if isinstance(part, int) else str(part)
        for part in one["loc"]
        if part not in ("body", "rows")
    ]
    return f"{', '.join(reversed(place))}: {one['msg']}" if place else str(one["msg"])


def route_that_says(say: Callable[[Refusal], Response]) -> type[APIRoute]:
    """The class of routes that answer a Refusal with `say`."""

    class Route(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            answer = super().get_route_handler()

            async def handle(request: Request) -> Response:
                try:
                    return await answer(request)
                except Refusal as refusal:
                    return say(refusal)

            return handle

    return Route
