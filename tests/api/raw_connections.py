"""Connections as a client without manners makes them: bytes instead of requests."""

from __future__ import annotations

import socket

FAR_TOO_MUCH = 100_000_000  # what the system itself holds for a connection is some megabytes


def connect(url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=60)


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other side ends the connection, by a reset too."""
    received = b""
    try:
        while part := connection.recv(100_000):
            received += part
    except ConnectionResetError:
        pass
    return received


def send_on_and_on(connection: socket.socket, start: bytes, block: bytes) -> int:
    """Bytes that went out before the connection was gone; gives up at FAR_TOO_MUCH."""
    sent = 0
    try:
        connection.sendall(start)
        while sent < FAR_TOO_MUCH:
            connection.sendall(block)
            sent += len(block)
    except OSError:
        return sent
    return sent
