"""Who sits at this terminal, as the journal names people."""

from __future__ import annotations

import getpass
import socket


def name_person() -> str:
    """The user of the operating system and the machine: `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may run under an id without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
