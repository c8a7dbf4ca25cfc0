"""The version that was last in service here, and the one before it: noted on disk.

So a service can start while MLflow is down, and with another version than one whose processes
crash.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from closedloop.bundle.files import model_digest
from closedloop.errors import ModelError

_LOG = logging.getLogger("closedloop.service")
_LEFT_OUT_SECONDS = 3600


@dataclass(frozen=True)
class Kept:
    """A version whose files a service keeps in `folder`; `window` is the one it was trained for."""

    version: int
    folder: Path
    sha256: str
    window: str


class LastGood:
    """The notes of a service, beside the bundles that it keeps in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "last_good.json"
        self._left_out = folder / "left_out.json"

    def note(self, kept: Kept) -> None:
        """Keep in mind that this version has come into service; the one before stays known, too."""
        was = _read_json(self.path)
        before = was if was.get("version") != kept.version else was.get("before")
        noted = asdict(kept) | {
            # From here, so that it is found in a home that was moved or copied.
            "folder": os.path.relpath(kept.folder.resolve(), self._folder.resolve()),
        }
        if isinstance(before, dict):
            noted["before"] = {name: before.get(name) for name in Kept.__dataclass_fields__}
        if noted != was:
            self._write_json(self.path, noted)

    @property
    def noted_at(self) -> float:
        """When the last good version came into service, as a Unix time; 0 without one."""
        try:
            return self.path.stat().st_mtime
        except OSError:
            return 0.0

    def read(self) -> Kept | None:
        """The last good version; no file of it is checked. None when there is none."""
        noted = _read_json(self.path)
        left_out = noted.get("sha256") == self._read_left_out()[0]
        return self._parse(noted.get("before") if left_out else noted)

    def find(self) -> Kept | None:
        """The last good version, if its files are complete."""
        kept = self.read()
        try:
            return kept if kept is not None and model_digest(kept.folder) == kept.sha256 else None
        except OSError:
            return None

    def leave_out(self, reason: str) -> bool:
        """Leave the last good version out for an hour, when there was another before it.

        That one is then the last good one. Returns False, and does nothing, without another.
        """
        noted = _read_json(self.path)
        kept, before = self._parse(noted), self._parse(noted.get("before"))
        if kept is None or before is None:
            return False
        if before.sha256 in (kept.sha256, self._read_left_out()[0]):
            return False
        _LOG.error("version %s is left out for an hour: %s", kept.version, reason)
        self._write_json(self._left_out, {"sha256": kept.sha256, "reason": reason})
        return True

    def refuse_left_out(self, version: int, digest: str) -> None:
        """Raise ModelError for the version that is left out."""
        left_out, reason = self._read_left_out()
        if digest and digest == left_out:
            raise ModelError(
                where=f"version {version}",
                wanted="processes that go on while it answers",
                got=reason,
                then="it is tried again in an hour; roll back, or train again",
            )

    def _read_left_out(self) -> tuple[str | None, str]:
        """The digest of the version that is left out, and why; None when none is."""
        try:
            if time.time() - self._left_out.stat().st_mtime > _LEFT_OUT_SECONDS:
                return None, ""
        except OSError:
            return None, ""
        noted = _read_json(self._left_out)
        return str(noted.get("sha256", "")), str(noted.get("reason", ""))

    def _parse(self, noted: Any) -> Kept | None:
        try:
            return Kept(
                int(noted["version"]),
                (self._folder / noted["folder"]).resolve(),
                str(noted["sha256"]),
                str(noted["window"]),
            )
        except (ValueError, KeyError, TypeError):
            return None

    def _write_json(self, path: Path, content: dict[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor, new = tempfile.mkstemp(dir=self._folder, prefix=f"{path.stem}-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file)
        os.replace(new, path)


def _read_json(path: Path) -> dict[str, Any]:
    """What is noted; empty for a file that is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
