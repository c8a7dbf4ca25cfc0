"""Bytes by key in one SQLite file: what was computed once and may be wanted again. Losing it costs
time and nothing else."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from closedloop.errors import StoreError


class Kept:
    """Reads and adds; safe across threads, and across processes that share the file. Without a path
    it keeps nothing beyond its life."""

    def __init__(self, path: Path | None = None) -> None:
        self._path, self._lock = path, threading.Lock()
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path or ":memory:", timeout=60, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            # A power cut may take the newest back, never damage the file.
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as error:
            raise self._damaged(error) from error

    def read(self, key: str) -> bytes | None:
        """What was added under the key; None when nothing was. Raises StoreError when the file is
        damaged."""
        try:
            with self._lock:
                found = self._connection.execute(
                    "SELECT value FROM kept WHERE key = ?", (key,)
                ).fetchone()
        except sqlite3.Error as error:
            raise self._damaged(error) from error
        return None if found is None else bytes(found[0])

    def add(self, key: str, value: bytes) -> None:
        """Keep a value, whole or not at all; the first one under a key stays. Raises StoreError
        when it cannot be written."""
        try:
            with self._lock:
                self._connection.execute("INSERT OR IGNORE INTO kept VALUES (?, ?)", (key, value))
        except sqlite3.Error as error:
            raise self._damaged(error) from error

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def _damaged(self, error: Exception) -> StoreError:
        return StoreError(
            where=f"kept results in {self._path}",
            wanted="a file that can be read and written",
            got=str(error),
            then="delete the file (it only saves time) or free disk, and run it again",
        )
