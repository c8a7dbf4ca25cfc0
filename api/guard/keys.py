"""API keys: read from a file, which may change while the service runs."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import SecretStr

from api.refusal import Refusal
from closedloop.errors import ClosedLoopError
from closedloop.operations.api_keys import hash_key, read_keys

_LOG = logging.getLogger("closedloop.service")
LOOK_SECONDS = 1.0
HOW_TO_SEND = "Authorization: Bearer KEY, or X-API-Key: KEY"
_CHALLENGE = {"www-authenticate": 'Bearer realm="closedloop"'}
_BAD_TOKEN = {"www-authenticate": 'Bearer realm="closedloop", error="invalid_token"'}

_Stamp = tuple[int, int, int] | None


class Keys:
    """Accepts the keys of the file at `path`, which is checked for changes at most once a second.

    `given` is one more key, from the environment. Requests need a key when `needed` is set or any
    key exists, and from then on: an emptied or deleted file locks the service instead of opening
    it. A file that cannot be read leaves the keys as they are, but raises ClosedLoopError here.
    """

    def __init__(
        self,
        path: Path,
        *,
        needed: bool,
        given: str | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._path, self._now = path, now or time.monotonic
        self._given = () if given is None else (hash_key(given.encode()),)
        self._stamp = _stamp_of(path)
        self._hashes = (*self._given, *_read_hashes(path))
        self._accepted: set[bytes] = set()
        self._next_look = self._now() + LOOK_SECONDS
        self.wanted = needed or bool(self._hashes)

    def __len__(self) -> int:
        return len(self._hashes)

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises Refusal 401 when a key is wanted and the headers hold no valid one."""
        if self._now() >= self._next_look:
            self.look()
        if not self.wanted:
            return
        given = False
        for name, value in headers:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                token = value[7:].strip()
            elif name == b"x-api-key":
                token = value
            else:
                continue
            if self._accepts(hash_key(token)):
                return
            given = True
        if given:
            raise Refusal(
                401,
                "unknown key: it was mistyped or removed",
                headers=_BAD_TOKEN,
            )
        raise Refusal(
            401,
            f"wanted a key ({HOW_TO_SEND}), got none: create one with closedloop key add NAME",
            headers=_CHALLENGE,
        )

    def accepts(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether `check` passes."""
        try:
            self.check(headers)
        except Refusal:
            return False
        return True

    def look(self) -> None:
        """Read the file again if it has changed."""
        self._next_look = self._now() + LOOK_SECONDS
        try:
            stamp = _stamp_of(self._path)
            if stamp == self._stamp:
                return
            # The stamp is older than the content: a change in between is read the next time.
            self._stamp = stamp
            self._hashes = (*self._given, *_read_hashes(self._path))
        except (ClosedLoopError, OSError) as error:
            _LOG.error("the API keys stay as they are: %s", error)
            return
        self._accepted.clear()
        self.wanted = self.wanted or bool(self._hashes)
        _LOG.info("%s API keys read from %s", len(self._hashes), self._path)

    def _accepts(self, digest: bytes) -> bool:
        # Looking up a hash leaks nothing by its timing: a client cannot choose the hash of a key.
        if digest in self._accepted:
            return True
        found = False
        for known in self._hashes:  # all, each in constant time
            found |= hmac.compare_digest(known, digest)
        if found:
            self._accepted.add(digest)
        return found


def open_keys(path: Path, host: str, given: SecretStr | None = None) -> Keys:
    """The keys of the file and of the environment, for a service that listens on `host`.

    Raises ClosedLoopError when other machines can reach it and there is no key.
    """
    keys = Keys(
        path, needed=not is_loopback(host), given=given.get_secret_value() if given else None
    )
    if keys.wanted and not len(keys):
        raise ClosedLoopError(
            where=f"the API on {host}",
            wanted="an API key, because other machines can reach it",
            got=f"none in {path}",
            then="create one: closedloop key add NAME (or CLOSEDLOOP_API_KEY); or use 127.0.0.1",
        )
    return keys


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`; of names, only localhost counts."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _stamp_of(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read_hashes(path: Path) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(key.sha256) for key in read_keys(path))
