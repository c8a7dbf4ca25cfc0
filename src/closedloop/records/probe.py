"""A row that means nothing, written to see whether anything can be written."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from sqlalchemy import Connection

from closedloop.records.tables import PROBES

_PADDING = "." * 65_536  # a disk with less space counts as full


def write_probe(connection: Connection) -> None:
    """Replace the row that is there."""
    connection.execute(sa.delete(PROBES))
    # A random id, because another process may probe at the same time.
    connection.execute(sa.insert(PROBES), {"id": secrets.randbelow(2**31), "padding": _PADDING})
