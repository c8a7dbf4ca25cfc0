"""The fixtures of `backends`, for every test of this folder."""

from __future__ import annotations

import pytest

from tests.contracts.backends import any_backend, backend, embedded, folder, memory, server

__all__ = ["any_backend", "backend", "embedded", "folder", "memory", "server"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A crash before each call is tried on the embedded MLflow every time, on a server at night."""
    for item in items:
        if "_after_a_crash_anywhere" in item.name and "[server" in item.name:
            item.add_marker(pytest.mark.nightly)
