"""One system call for each answer.

uvicorn writes the head of an answer and then its body. For a small answer, each of these two system
calls takes longer than the model.
"""

from __future__ import annotations

import asyncio


class JoinedWrites:
    """A transport whose write waits until the loop turns; one that follows goes out with it."""

    __slots__ = (
        "_held",
        "_later",
        "_transport",
        "abort",
        "get_extra_info",
        "get_write_buffer_size",
        "is_closing",
        "pause_reading",
        "resume_reading",
    )

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._held, self._later, self._transport = b"", loop.call_soon, transport
        self.abort, self.get_extra_info = transport.abort, transport.get_extra_info
        self.get_write_buffer_size = transport.get_write_buffer_size
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.writelines((held, data))
        elif data:
            self._held = data
            self._later(self._send_held)

    def close(self) -> None:
        self._send_held()
        self._transport.close()

    def _send_held(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)
