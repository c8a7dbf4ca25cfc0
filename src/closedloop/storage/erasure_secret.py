"""The secret that names a person in the journal without naming them.

Keys are few and often counted up: whoever has a plain or salted hash tries them all in seconds. An
HMAC can only be tried with the secret, which is in the home and not in the database. Delete the
file, and nobody can tell any more whom the journal's erasures were about.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from closedloop.errors import StoreError
from closedloop.storage.lock import hold_file

FILE = "erasure_secret"


def name_person(home: Path, use_case: str, key: str) -> str:
    """The same 64 hexadecimal digits for the same person of a use case, with the secret of `home`.

    The secret is made on first use. Raises StoreError when its file cannot be written or read.
    """
    secret = _read_secret(home / FILE)
    return hmac.new(secret, f"{use_case}\0{key}".encode(), hashlib.sha256).hexdigest()


def _read_secret(path: Path) -> bytes:
    try:
        with hold_file(path.with_name(f"{FILE}.lock")):
            if not path.exists():
                _write_secret(path)
            secret = bytes.fromhex(path.read_text(encoding="ascii"))
        if len(secret) < 32:
            raise ValueError(f"{len(secret)} bytes")
    except (OSError, ValueError) as error:
        raise StoreError(
            where=str(path),
            wanted="32 random bytes as hexadecimal digits",
            got=str(error),
            then="fix the permissions of its folder, or move the file away to begin a new secret",
        ) from error
    return secret


def _write_secret(path: Path) -> None:
    part = path.with_name(f".{FILE}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
