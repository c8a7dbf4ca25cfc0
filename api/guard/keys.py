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
from closedloop.operations.api_keys import ApiKey, Role, hash_key, read_keys

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
        self._given = () if given is None else (_key_of_environment(given),)
        self._stamp = _stamp_of(path)
        self.known: tuple[ApiKey, ...] = (*self._given, *read_keys(path))
        self._accepted: dict[bytes, ApiKey] = {}
        self._next_look = self._now() + LOOK_SECONDS
        self.wanted = needed or bool(self.known)

    def __len__(self) -> int:
        return len(self.known)

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> ApiKey | None:
        """The key that the headers hold, None while none is wanted.

        Raises Refusal 401 when one is wanted and the headers hold no valid one.
        """
        if self._now() >= self._next_look:
            self.look()
        if not self.wanted:
            return None
        given = False
        for name, value in headers:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                token = value[7:].strip()
            elif name == b"x-api-key":
                token = value
            else:
                continue
            key = self._find(hash_key(token))
            if key is not None:
                return key
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

    def accepts(self, headers: Iterable[tuple[bytes, bytes]], use_case: str | None = None) -> bool:
        """Whether `check` passes, with a key for that use case if one is given."""
        try:
            key = self.check(headers)
        except Refusal:
            return False
        return key is None or use_case is None or key.allows(use_case)

    def refresh(self) -> None:
        """Read the file again if it has changed, at most once a second."""
        if self._now() >= self._next_look:
            self.look()

    def find(self, secret: str) -> ApiKey | None:
        """The key whose secret that is; None for any other text."""
        self.refresh()
        return self._find(hash_key(secret.encode()))

    def still_knows(self, key: ApiKey) -> bool:
        """Whether a key that was found earlier is still there, with the role that it had."""
        self.refresh()
        return key in self.known

    def look(self) -> None:
        """Read the file again if it has changed."""
        self._next_look = self._now() + LOOK_SECONDS
        try:
            stamp = _stamp_of(self._path)
            if stamp == self._stamp:
                return
            # The stamp is older than the content: a change in between is read the next time.
            self._stamp = stamp
            self.known = (*self._given, *read_keys(self._path))
        except (ClosedLoopError, OSError) as error:
            _LOG.error("the API keys stay as they are: %s", error)
            return
        self._accepted.clear()
        self.wanted = self.wanted or bool(self.known)
        _LOG.info("%s API keys read from %s", len(self.known), self._path)

    def _find(self, digest: bytes) -> ApiKey | None:
        # Looking up a hash leaks nothing by its timing: a client cannot choose the hash of a key.
        found = self._accepted.get(digest)
        if found is not None:
            return found
        for known in self.known:  # all, each in constant time
            if hmac.compare_digest(bytes.fromhex(known.sha256), digest):
                found = known
        if found is not None:
            self._accepted[digest] = found
        return found


def open_keys(
    path: Path, host: str, given: SecretStr | None = None, *, what: str = "the API"
) -> Keys:
    """The keys of the file and of the environment, for a service that listens on `host`.

    Raises ClosedLoopError when other machines can reach it and there is no key.
    """
    keys = Keys(
        path, needed=not is_loopback(host), given=given.get_secret_value() if given else None
    )
    if keys.wanted and not len(keys):
        raise ClosedLoopError(
            where=f"{what} on {host}",
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


def _key_of_environment(secret: str) -> ApiKey:
    # The name has a space, so no key of the file can have it.
    return ApiKey("the environment", hash_key(secret.encode()).hex(), "", Role.CLIENT)
