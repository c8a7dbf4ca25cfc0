"""Several use cases behind one address: `/use-cases/NAME/...` goes to the app of that use case."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi.responses import JSONResponse
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from api.guard.limits import KEY, Guard
from api.guard.middleware import ServiceApp
from closedloop.use_case.several import FOLDER

_PREFIX = f"{FOLDER}/"


class UseCases:
    """The apps of several use cases by name, which the prefix chooses; the first needs none.

    Each app is asked as if it were alone, with the path behind the prefix, so that its guard, its
    limits and its metrics are its own. `guard` is asked before anybody is told which names exist.
    """

    def __init__(self, apps: Mapping[str, ServiceApp], guard: Guard) -> None:
        self._apps = dict(apps)
        self._first, *others = self._apps.values()
        for app in others:
            # Starlette would lead to the path without the prefix: to another use case.
            app.router.redirect_slashes = False
        self._unknown = self._first.guarded(_Unknown(tuple(self._apps)), guard)
        self._lifespan = Starlette(lifespan=self._enter_all)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        path: str = scope["path"]
        if path != FOLDER and not path.startswith(_PREFIX):
            await self._first(scope, receive, send)
            return
        name, _, rest = path[len(_PREFIX) :].partition("/")
        app = self._apps.get(name)
        inside = f"/{rest}"
        if app is None or inside.startswith(_PREFIX):  # a prefix within a prefix is none
            await self._unknown(scope, receive, send)
            return
        root = f"{scope.get('root_path', '')}{_PREFIX}{name}"
        await app({**scope, "path": inside, "root_path": root}, receive, send)

    @asynccontextmanager
    async def _enter_all(self, _app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            state: dict[str, Any] = {}
            for app in self._apps.values():
                lifespan: Any = app.router.lifespan_context(app)
                state.update(await stack.enter_async_context(lifespan) or {})
            yield state


class _Unknown:
    """404, with the names that there are."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = scope.get(KEY)
        names = [name for name in self._names if key is None or key.allows(name)]
        named = scope["path"].removeprefix(_PREFIX)[:80]
        detail = f"{_PREFIX}NAME/...: wanted one of {', '.join(names)}, got {named!r}"
        await JSONResponse({"detail": detail}, 404)(scope, receive, send)
