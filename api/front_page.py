"""`GET /` of the API: the way to the page for people, and to what programs ask."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from api.documentation_page import HEADERS

_WAYS = {
    "/docs": "every request that this service answers, with examples",
    "/model": "which model answers",
    "/ready": "whether it answers",
    "/metrics": "numbers for Prometheus",
}


def add_front_page(app: FastAPI, page_url: str | None) -> None:
    """Answer / with the page at `page_url`, or with links; needs no key and tells nothing else."""

    @app.get("/", include_in_schema=False)
    async def front(request: Request) -> Response:
        # Behind a prefix for one of several use cases, the ways are behind it as well.
        root = request.scope.get("root_path", "")
        ways = {f"{root}{path}": words for path, words in _WAYS.items()}
        if "text/html" not in request.headers.get("accept", ""):
            return JSONResponse({**ways, **({"page": page_url} if page_url else {})})
        if page_url:
            return RedirectResponse(page_url, 302, headers={"cache-control": "no-store"})
        return HTMLResponse(_links(ways), headers=HEADERS)


def _links(ways: Mapping[str, str]) -> str:
    items = "".join(
        f'<li><a href="{escape(path)}"><code>{escape(path)}</code></a>: {escape(words)}</li>'
        for path, words in ways.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>closedloop: the API'
        '</title><meta name="viewport" content="width=device-width, initial-scale=1"><style>'
        ":root { color-scheme: light dark } body { font: 16px/1.5 system-ui, sans-serif; "
        "max-width: 44rem; margin: 0 auto; padding: 1rem }</style></head><body><main>"
        f"<h1>The API of closedloop</h1><ul>{items}</ul><p>The page for people is a process of its "
        "own: <code>closedloop page</code>. Set CLOSEDLOOP_PAGE_URL to where it is, and this "
        "address leads there.</p></main></body></html>"
    )
