"""A small HTTP server that answers as a test tells it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Send = Callable[["Answering"], object]


class Answering(BaseHTTPRequestHandler):
    """A request and its answer."""

    server: Any
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Authorization"]))
        self.server.answer(self)

    do_HEAD = do_GET

    def log_message(self, *_given: Any) -> None:
        pass

    def send(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


@pytest.fixture
def serve() -> Iterator[Callable[[Send], tuple[str, list[Any]]]]:
    """Serve with a function; gives the address and what was asked."""
    with ExitStack() as stack:

        def start(answer: Send) -> tuple[str, list[Any]]:
            server: Any = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Answering))
            server.answer, server.asked, server.daemon_threads = answer, [], True
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}", server.asked

        yield start
