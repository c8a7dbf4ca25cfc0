"""What `closedloop doctor` says about who may read what is kept: the home folder, and .env."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from closedloop.errors import ClosedLoopError
from closedloop.storage.home import is_open

_SECRET = re.compile(r"^\s*\w*(PASSWORD|SECRET|KEY|AUTH)\w*\s*=\s*\S|://[^/@\s]+@", re.MULTILINE)


def describe_home(home: Path) -> str:
    """Whose the home is and who shares it.

    Raises ClosedLoopError when every user of the machine may read it, or a .env with secrets, and
    when it belongs to somebody who has not shared it.
    """
    _refuse_open_secrets(Path(".env"))
    if not home.exists():
        return f"{home}: none yet, the next command makes it for this user alone"
    found = home.stat()
    mode, owner, group = stat.S_IMODE(found.st_mode), _user(found.st_uid), _group(found.st_gid)
    if is_open(home):
        raise ClosedLoopError(
            where=str(home),
            wanted="a folder that no other user may enter: it has customers' rows",
            got=f"mode {mode:o}",
            then=f"chmod 700 {home}, or chmod 2770 to share it with the group {group}",
        )
    is_shared = bool(mode & stat.S_IWGRP)
    if found.st_uid != os.geteuid() and not is_shared:
        raise ClosedLoopError(
            where=str(home),
            wanted=f"a folder of {_user(os.geteuid())}",
            got=f"one of {owner}",
            then=f"run closedloop as {owner}, or set CLOSEDLOOP_HOME to a folder of your own",
        )
    return f"{home}: " + (
        f"shared with the group {group}" if is_shared else f"{owner} alone may change it"
    )


def _refuse_open_secrets(file: Path) -> None:
    if is_open(file.absolute()) and _SECRET.search(
        file.read_text(encoding="utf-8", errors="replace")
    ):
        raise ClosedLoopError(
            where=str(file.absolute()),
            wanted="secrets that no other user may read",
            got=f"mode {stat.S_IMODE(file.stat().st_mode):o}",
            then="chmod 600 .env",
        )


def _user(number: int) -> str:
    import pwd

    with suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return f"user {number}"


def _group(number: int) -> str:
    import grp

    with suppress(KeyError):
        return grp.getgrgid(number).gr_name
    return str(number)
