"""The file of API keys: a name and a hash for each, never the key itself.

A key is 32 bytes of the system's randomness, so that a plain sha256 of it is enough: there is
nothing to guess, and no need for the slow hashes that protect passwords people choose.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from closedloop.errors import ClosedLoopError
from closedloop.storage.lock import hold_file

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class ApiKey:
    """Who may ask: `sha256` is the hash of the key, 64 hexadecimal digits; `added` an ISO time in
    UTC."""

    name: str
    sha256: str
    added: str


def hash_key(key: bytes) -> bytes:
    """The 32 bytes that are kept of a key."""
    return hashlib.sha256(key).digest()


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """The keys in the order in which they were added; none when there is no file. Raises
    ClosedLoopError when it cannot be understood."""
    try:
        keys = tuple(ApiKey(**one) for one in json.loads(path.read_bytes())["keys"])
        if not all(
            isinstance(one.name, str) and len(bytes.fromhex(one.sha256)) == 32 for one in keys
        ):
            raise ValueError("a sha256 that is none")
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ClosedLoopError(
            where=str(path),
            wanted="a file of API keys",
            got=f"{type(error).__name__}: {error}",
            then="mend or remove it, then: closedloop key add NAME",
        ) from error
    return keys


def add_key(path: Path, name: str) -> str:
    """A new key, of which the file keeps the hash. Raises ClosedLoopError when the name is taken or
    no name, or the file not writable."""
    if not _NAME.fullmatch(name):
        raise ClosedLoopError(
            where="the name of a key",
            wanted="1 to 64 letters, digits, '.', '_' or '-'",
            got=repr(name),
            then="name it after who will use it",
        )
    key = f"cl_{secrets.token_urlsafe(32)}"
    with hold_file(_lock_of(path)):
        keys = read_keys(path)
        if name in [one.name for one in keys]:
            raise ClosedLoopError(
                where=str(path),
                wanted="a new name",
                got=f"{name}, which has a key",
                then=f"choose another name, or first: closedloop key remove {name}",
            )
        added = datetime.now(UTC).isoformat(timespec="seconds")
        _write(path, [*keys, ApiKey(name, hash_key(key.encode()).hex(), added)])
    return key


def remove_key(path: Path, name: str) -> int:
    """Take the key of that name out of the file; how many are left. Raises ClosedLoopError when
    there is none of that name."""
    with hold_file(_lock_of(path)):
        keys = read_keys(path)
        left = [one for one in keys if one.name != name]
        if len(left) == len(keys):
            near = difflib.get_close_matches(name, [one.name for one in keys], n=1)
            raise ClosedLoopError(
                where=str(path),
                wanted="the name of a key",
                got=name,
                then=f"did you mean {near[0]}?"
                if near
                else "see their names with: closedloop key list",
            )
        _write(path, left)
    return len(left)


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _write(path: Path, keys: Sequence[ApiKey]) -> None:
    """All or nothing, and for the owner only: a service that reads meanwhile sees the old file or
    the new one."""
    content = json.dumps({"keys": [asdict(one) for one in keys]}, indent=2) + "\n"
    target = Path(os.path.realpath(path))  # a link stays a link
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with open(
            os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise ClosedLoopError(
            where=str(path),
            wanted="a file of API keys that can be written",
            got=error.strerror or str(error),
            then="mend its folder, or set CLOSEDLOOP_API_KEYS_FILE to another place",
        ) from error
