"""Who may ask: the keys of a file, which may change while the service runs."""

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
    """Takes the keys of the file at `path`, looked at again at most once a second; any of them is
    as good as the others.

    `given`, if any, is one more key, which the environment names: nobody has to write a file for
    it.

    A key is `wanted` when `needed` says so or a key exists, and from then on: a file that is
    emptied or lost locks the service and does not open it. One that cannot be understood leaves the
    keys as they were. Raises ClosedLoopError when that is so at the start.
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
        """Raises Refusal 401 unless a key is among them, or none is wanted."""
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
                "the key is none that this service takes: it was mistyped or removed",
                headers=_BAD_TOKEN,
            )
        raise Refusal(
            401,
            f"wanted a key ({HOW_TO_SEND}), got none: closedloop key add NAME makes one",
            headers=_CHALLENGE,
        )

    def look(self) -> None:
        """Read the file again if it is another one than before."""
        self._next_look = self._now() + LOOK_SECONDS
        try:
            stamp = _stamp_of(self._path)
            if stamp == self._stamp:
                return
            # Taken before reading: what is written in between has another stamp, and is read the
            # next time.
            self._stamp = stamp
            self._hashes = (*self._given, *_read_hashes(self._path))
        except (ClosedLoopError, OSError) as error:
            _LOG.error("the API keys stay as they were: %s", error)
            return
        self._accepted.clear()
        self.wanted = self.wanted or bool(self._hashes)
        _LOG.info("%s API keys read from %s", len(self._hashes), self._path)

    def _accepts(self, digest: bytes) -> bool:
        # A set of hashes tells nothing about keys by the time it takes: nobody can choose the hash
        # of what he sends.
        if digest in self._accepted:
            return True
        found = False
        for known in self._hashes:  # all of them, each in constant time
            found |= hmac.compare_digest(known, digest)
        if found:
            self._accepted.add(digest)
        return found


def open_keys(path: Path, host: str, given: SecretStr | None = None) -> Keys:
    """The keys of the file, and the one that the environment names, for a service that listens on
    `host`.

    Raises ClosedLoopError for one that others can reach when there is no key.
    """
    keys = Keys(
        path, needed=not is_loopback(host), given=given.get_secret_value() if given else None
    )
    if keys.wanted and not len(keys):
        raise ClosedLoopError(
            where=f"the API on {host}",
            wanted="an API key, because other machines can reach it",
            got=f"none in {path}",
            then="make one with: closedloop key add NAME (or CLOSEDLOOP_API_KEY); or listen on 127.0.0.1",
        )
    return keys


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there; a name other than localhost is taken
    for one that others reach."""
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
    return tuple(bytes.fromhex(one.sha256) for one in read_keys(path))
