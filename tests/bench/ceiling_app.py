"""`python -m tests.bench.ceiling_app OPTIONS`: `closedloop serve OPTIONS` with one more route,
which answers a constant.

The app, its layers and metrics, the settings of uvicorn and the thread that follows the registry
are those of the real command. What it answers in a second is what no /predict behind the same
server can pass.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.guard.middleware import Service

# As long as a real answer to one row.
_ANSWER = (
    b'{"model":"bench","version":1,"predictions":[{"id":"019aa3c1f0d2a7b64e2f5c8d9e01b3f4-000000","prediction":"False",'
    b'"probabilities":{"False":0.7310585786300049,"True":0.2689414213699951},"warnings":[]}]}'
)
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_ANSWER)).encode())]


class Constant:
    """An ASGI endpoint that neither reads, scores nor records."""

    path = "/constant"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _ANSWER})


def add_constant(app: Service) -> None:
    """Put the route where /predict is: first in the router, and among the hot paths."""
    constant = Constant()
    app.router.routes.insert(
        0, Route(constant.path, constant, methods=["POST"], include_in_schema=False)
    )
    app.add_hot(constant.path, constant)


def main(options: Sequence[str]) -> int:
    """Serve until told to stop; returns the exit code of the command."""
    import api.app
    from closedloop.cli.app import main as closedloop

    create_app = api.app.create_app

    def create_with_constant(*parts: Any, **limits: Any) -> Service:
        app = create_app(*parts, **limits)
        add_constant(app)
        return app

    # The command looks for it there when it starts, so that all else is what it does itself.
    api.app.create_app = create_with_constant
    return closedloop(["serve", *options], os.environ)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
