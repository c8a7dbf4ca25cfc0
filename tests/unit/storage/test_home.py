"""Who besides its user may read a home: nobody, or a group that its owner has let in."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from closedloop.storage.engine import open_engine
from closedloop.storage.home import choose_umask, is_open, making_files
from closedloop.storage.lock import hold_lock


# The mode of a home, and those of a file and a folder that are made in it.
@pytest.mark.parametrize(
    ("home", "file", "folder"),
    [
        (None, 0o600, 0o700),
        (0o700, 0o600, 0o700),
        (0o755, 0o600, 0o700),
        (0o777, 0o600, 0o700),
        (0o750, 0o640, 0o750),
        (0o2770, 0o660, 0o770),
    ],
)
def test_a_home_is_private_or_shared_with_a_group(
    tmp_path: Path, home: int | None, file: int, folder: int
) -> None:
    """Databases, locks and folders are their user's alone, also in a home that older versions left
    open; a group that may enter the home may do the same with all that is in it."""
    place = tmp_path / "home"
    if home is not None:
        place.mkdir()
        place.chmod(home)
    with making_files(choose_umask(place)):
        engine = open_engine(f"sqlite:///{place / 'closedloop.db'}")
        with engine.begin() as connection, hold_lock("turn", engine, "test"):
            connection.execute(text("CREATE TABLE answers (id INTEGER)"))
            made = {path.name: path.stat().st_mode & 0o777 for path in place.iterdir()}
        (place / "artifacts").mkdir()
    assert {"closedloop.db", "closedloop.db-wal", "turn.lock"} <= set(made)
    assert set(made.values()) == {file}
    assert (place / "artifacts").stat().st_mode & 0o777 == folder


def test_a_home_is_open_when_everybody_may_enter_it(tmp_path: Path) -> None:
    """A home that everybody may enter is open, except in a folder that others cannot enter."""
    closed = tmp_path / "closed"
    home = closed / "home"
    home.mkdir(parents=True)
    for folder, mode in ((tmp_path, 0o755), (closed, 0o755), (home, 0o755)):
        folder.chmod(mode)
    parents = [folder for folder in tmp_path.parents if not folder.stat().st_mode & 0o001]
    assert is_open(home) is not bool(parents)
    for mode in (0o700, 0o770, 0o750):
        home.chmod(mode)
        assert not is_open(home)
    home.chmod(0o755)
    closed.chmod(0o750)
    assert not is_open(home)
    assert not is_open(tmp_path / "missing")
