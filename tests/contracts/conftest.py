"""The fixtures of `backends`, for every test of this folder."""

from __future__ import annotations

from tests.contracts.backends import any_backend, backend, embedded, folder, memory, server

__all__ = ["any_backend", "backend", "embedded", "folder", "memory", "server"]
