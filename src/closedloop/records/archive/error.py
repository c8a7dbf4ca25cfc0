"""The error of an archive, for those who read the database instead."""

from __future__ import annotations

from closedloop.errors import StoreError


class ArchiveError(StoreError):
    """The archive does not answer, or a file in it cannot be read or written."""
