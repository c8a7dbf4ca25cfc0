"""The home folder, and who besides its user may read what is kept there: nobody.

Its owner may share it with a group on purpose (`chmod 2770`): then that group may read and change
the files in it, too.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

PRIVATE = 0o077  # a umask: new files are their owner's alone
# Gives the block in which a file for the user is written, with the modes of their other files.
Writing = Callable[[], AbstractContextManager[object]]


def choose_umask(home: Path) -> int:
    """The umask for files in `home`: a group may do with them what it may do with the folder.

    A folder that is open to everybody was not shared on purpose, and a missing one not at all.
    """
    try:
        mode = home.stat().st_mode
    except OSError:
        return PRIVATE
    return PRIVATE if mode & stat.S_IRWXO else PRIVATE & ~mode | stat.S_IRWXO


@contextmanager
def making_files(umask: int) -> Iterator[int]:
    """Make the files of this block under another umask; yields the one before."""
    before = os.umask(umask)
    try:
        yield before
    finally:
        os.umask(before)


def is_open(path: Path) -> bool:
    """Whether every user of this machine may look into the file or folder."""
    try:
        asked = stat.S_IRWXO if path.is_dir() else stat.S_IROTH
        return bool(path.stat().st_mode & asked) and all(
            folder.stat().st_mode & stat.S_IXOTH for folder in path.parents
        )
    except OSError:
        return False
