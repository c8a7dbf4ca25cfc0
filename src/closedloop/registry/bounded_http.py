"""HTTP answers that end: in time, however slowly they come, and only where they were asked for."""

from __future__ import annotations

import os
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, Timer
from typing import Any

_SOCKET_SECONDS = 10.0
_CERTIFICATES = ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE")


@contextmanager
def open_bounded(
    address: str,
    headers: Mapping[str, str],
    seconds: float,
    *,
    body: bytes | None = None,
    certificates: ssl.SSLContext | None = None,
) -> Iterator[Any]:
    """The answer to a GET, or to a POST of a body.

    Raises TimeoutError when it has not been read after `seconds`, HTTPError for a redirect, which
    would carry `headers` and so a password to another server, and otherwise as urllib does. The
    certificates are those of MLflow's own client, unless others are given.
    """
    expired, watched = Event(), list[socket.socket]()

    def end() -> None:
        expired.set()
        for connection in watched:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    class Watching(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
        """A timeout of a socket is one between two bytes; this one ends it all."""

        def do_open(self, http_class: Any, req: Any, **named: Any) -> Any:
            def make(*given: Any, **options: Any) -> Any:
                made = http_class(*given, **options)
                create = made._create_connection

                def connect(*where: Any) -> socket.socket:
                    connection: socket.socket = create(*where)
                    watched.append(connection.dup())  # the original becomes TLS's, or is closed
                    if expired.is_set():
                        end()
                    return connection

                made._create_connection = connect
                return made

            return super().do_open(make, req, **named)

    timer = Timer(max(seconds, 0), end)
    timer.daemon = True
    timer.start()
    opener = urllib.request.build_opener(
        _NoRedirects, Watching(context=certificates or _certificates(address))
    )
    request = urllib.request.Request(address, body, headers=dict(headers))
    try:
        try:
            with opener.open(request, timeout=min(_SOCKET_SECONDS, max(seconds, 0.001))) as answer:
                yield answer
        except Exception as error:
            if expired.is_set():
                raise TimeoutError(f"no whole answer in {seconds:.0f} seconds") from error
            raise
        if expired.is_set():
            raise TimeoutError(f"no whole answer in {seconds:.0f} seconds")
    finally:
        timer.cancel()
        for connection in watched:
            connection.close()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *given: Any, **named: Any) -> None:
        return None


def _certificates(address: str) -> ssl.SSLContext | None:
    if not address.startswith("https:"):
        return None
    file = next((os.environ[name] for name in _CERTIFICATES if os.environ.get(name)), None)
    folder = file if file and os.path.isdir(file) else None
    context = ssl.create_default_context(cafile=None if folder else file, capath=folder)
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if client := os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH"):
        context.load_cert_chain(client)
    return context
