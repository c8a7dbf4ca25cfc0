"""The file of API keys: the name, role and hash of each, never the key itself.

A key is 32 random bytes, so a plain sha256 is enough. Slow hashes protect passwords that people
choose, which can be guessed.
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
from enum import StrEnum
from pathlib import Path
from typing import Any

from closedloop.errors import ClosedLoopError
from closedloop.json_text import read_json
from closedloop.storage.lock import hold_file

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Role(StrEnum):
    """What the holder of a key may do."""

    CLIENT = "client"
    """Ask for predictions and explanations, and send labels."""
    VIEWER = "viewer"
    """Read: the page, metrics, which model answers. Changes and asks nothing."""
    OPERATOR = "operator"
    """Everything: what the others may, and approve, promote and roll back on the page."""


@dataclass(frozen=True)
class ApiKey:
    """`sha256` is the hash of the key, 64 hexadecimal digits; `added` is an ISO time in UTC.

    A key without `use_cases` is one for all of them.
    """

    name: str
    sha256: str
    added: str
    role: Role = Role.CLIENT  # of files from before there were roles
    use_cases: tuple[str, ...] = ()

    def allows(self, use_case: str) -> bool:
        """Whether the holder may do with this use case what the role allows."""
        return not self.use_cases or use_case in self.use_cases


def hash_key(key: bytes) -> bytes:
    """The sha256 of a key, 32 bytes."""
    return hashlib.sha256(key).digest()


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """The keys in the order they were added, none without a file.

    Raises ClosedLoopError when the file is malformed.
    """
    try:
        keys = tuple(_read_key(entry) for entry in read_json(path.read_bytes())["keys"])
        if not all(
            isinstance(key.name, str) and len(bytes.fromhex(key.sha256)) == 32 for key in keys
        ):
            raise ValueError("a malformed sha256")
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ClosedLoopError(
            where=str(path),
            wanted="a file of API keys",
            got=f"{type(error).__name__}: {error}",
            then="repair or delete it, then: closedloop key add NAME",
        ) from error
    return keys


def read_role(role: str) -> Role:
    """The role of that name; raises ClosedLoopError when there is none."""
    try:
        return Role(role)
    except ValueError:
        raise ClosedLoopError(
            where="the role of a key",
            wanted=", ".join(Role),
            got=repr(role),
            then="choose one of them",
        ) from None


def add_key(path: Path, name: str, role: Role = Role.CLIENT, use_cases: Sequence[str] = ()) -> str:
    """Create a key, keep its hash in the file, and return it.

    Raises ClosedLoopError for a name that is taken or malformed, for what cannot be the name of a
    use case, or a file that cannot be written.
    """
    for use_case in use_cases:
        if not use_case.replace("_", "").replace("-", "").isalnum():
            raise ClosedLoopError(
                where="the use case of a key",
                wanted="its `name` in loop.toml: letters, digits, - and _",
                got=repr(use_case),
                then="give the name, not the path",
            )
    if not _NAME.fullmatch(name):
        raise ClosedLoopError(
            where="the name of a key",
            wanted="1 to 64 letters, digits, '.', '_' or '-'",
            got=repr(name),
            then="name it after its user",
        )
    secret = f"cl_{secrets.token_urlsafe(32)}"
    with hold_file(_lock_of(path)):
        keys = read_keys(path)
        if name in [key.name for key in keys]:
            raise ClosedLoopError(
                where=str(path),
                wanted="a new name",
                got=f"{name}, which is taken",
                then=f"choose another name, or first: closedloop key remove {name}",
            )
        added = datetime.now(UTC).isoformat(timespec="seconds")
        allowed = tuple(dict.fromkeys(use_cases))
        new = ApiKey(name, hash_key(secret.encode()).hex(), added, role, allowed)
        _write(path, [*keys, new])
    return secret


def remove_key(path: Path, name: str) -> int:
    """Delete the key of that name; returns how many are left.

    Raises ClosedLoopError when there is no key of that name.
    """
    with hold_file(_lock_of(path)):
        keys = read_keys(path)
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            near = difflib.get_close_matches(name, [key.name for key in keys], n=1)
            raise ClosedLoopError(
                where=str(path),
                wanted="the name of a key",
                got=name,
                then=f"did you mean {near[0]}?" if near else "list the names: closedloop key list",
            )
        _write(path, left)
    return len(left)


def _read_key(entry: dict[str, Any]) -> ApiKey:
    use_cases = entry.get("use_cases")
    # An empty list would be read as a key for all.
    if use_cases is not None and not (
        isinstance(use_cases, list)
        and use_cases
        and all(isinstance(name, str) for name in use_cases)
    ):
        raise ValueError(f"use_cases: wanted a list of names, got {use_cases!r}")
    role = Role(entry.get("role", Role.CLIENT))
    return ApiKey(**{**entry, "role": role, "use_cases": tuple(use_cases or ())})


def _describe(key: ApiKey) -> dict[str, Any]:
    described = asdict(key)
    if not key.use_cases:  # as files were before a key could be for some use cases only
        del described["use_cases"]
    return described


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _write(path: Path, keys: Sequence[ApiKey]) -> None:
    """All or nothing, readable by the owner only: an API sees the old file or the new one."""
    content = json.dumps({"keys": [_describe(key) for key in keys]}, indent=2) + "\n"
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
            then="fix its folder, or set CLOSEDLOOP_API_KEYS_FILE to another path",
        ) from error
