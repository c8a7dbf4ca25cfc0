"""Real receivers of alerts, HTTP and SMTP: they keep what came, and may misbehave."""

from __future__ import annotations

import json
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


class Webhook:
    """An HTTP receiver. `answer` is its status; `hang` keeps it from answering, `reset` ends the
    connection without an answer. A GET gets the `page`."""

    def __init__(self) -> None:
        self.answer, self.location, self.page = 200, "", b"{}"
        self.hang, self.reset, self.released = False, False, Event()
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        receiver = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.headers.append(dict(self.headers))
                receiver.bodies.append(body)
                if receiver.hang:
                    receiver.released.wait(30)
                if receiver.reset:
                    self.connection.close()
                    return
                self.send_response(receiver.answer)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                self.send_response(receiver.answer)
                self.send_header("Content-Length", str(len(receiver.page)))
                self.end_headers()
                self.wfile.write(receiver.page)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/hook/s3cretpath"

    @property
    def keys(self) -> list[str]:
        """The key of each alert that came, in order."""
        return [json.loads(body)["key"] for body in self.bodies]


class Mailbox:
    """An SMTP receiver. `refuse` makes it answer every message with a permanent error."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.refuse = False
        mailbox = self

        class Conversation(socketserver.StreamRequestHandler):
            def say(self, line: str) -> None:
                self.wfile.write(line.encode() + b"\r\n")

            def handle(self) -> None:
                self.say("220 here")
                while line := self.rfile.readline():
                    word = line.split(b" ")[0].strip().upper()
                    if word == b"DATA":
                        self.say("354 go on")
                        self.read_message()
                        self.say("554 refused" if mailbox.refuse else "250 taken")
                    elif word == b"QUIT":
                        self.say("221 bye")
                        return
                    else:
                        self.say("250 ok")

            def read_message(self) -> None:
                lines = []
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
                if not mailbox.refuse:
                    mailbox.raw.append(b"".join(lines))
                    found = message_from_bytes(b"".join(lines), policy=policy.default)
                    mailbox.messages.append(found)  # type: ignore[arg-type]

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Conversation)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.address = f"mailto://127.0.0.1:{self.port}/?from=loop@example.org&to=ops@example.org&mode=insecure"


@contextmanager
def serving(receiver: Webhook | Mailbox) -> Iterator[None]:
    """The receiver answers for the duration of the block."""
    thread = Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        if isinstance(receiver, Webhook):
            receiver.released.set()
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()
