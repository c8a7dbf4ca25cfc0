"""The doctor on who may read the home, and every command on a home that is open."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from closedloop.cli.app import main
from closedloop.cli.examine.home import describe_home
from closedloop.errors import ClosedLoopError


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home in a folder that everybody may enter, which is the folder to work in."""
    with tempfile.TemporaryDirectory(prefix="closedloop-test-") as folder:
        os.chmod(folder, 0o755)
        monkeypatch.chdir(folder)
        (Path(folder) / "home").mkdir(mode=0o700)
        yield Path(folder).resolve() / "home"


def test_an_open_home_is_told_with_the_command_that_closes_it(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A home that older versions left open fails the doctor, and every command warns of it; no
    command changes its mode."""
    home.chmod(0o755)
    with pytest.raises(ClosedLoopError, match=f"got mode 755: chmod 700 {home}"):
        describe_home(home)
    assert main(["key", "list"], {"CLOSEDLOOP_HOME": str(home)}) == 0
    assert f"chmod 700 {home}" in capsys.readouterr().err
    assert home.stat().st_mode & 0o777 == 0o755
    home.chmod(0o700)
    assert "alone may change it" in describe_home(home)
    assert main(["key", "list"], {"CLOSEDLOOP_HOME": str(home)}) == 0
    assert capsys.readouterr().err == ""


def test_a_shared_home_is_well(home: Path) -> None:
    """A home that its owner shares with a group is no fault, and the group is named."""
    home.chmod(0o2770)
    assert "shared with the group" in describe_home(home)


def test_the_home_of_somebody_else_is_told(home: Path) -> None:
    """Files that root writes into it would lock its owner out."""
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    os.chown(home, 65534, 65534)
    home.chmod(0o700)
    with pytest.raises(ClosedLoopError, match="got one of nobody: run closedloop as nobody"):
        describe_home(home)
    home.chmod(0o2770)
    assert "shared with the group" in describe_home(home)


def test_secrets_that_everybody_may_read_are_told(home: Path) -> None:
    """An open .env is a fault when there are secrets in it, and none otherwise."""
    file = home.parent / ".env"
    file.write_text("CLOSEDLOOP_PORT=8081\n# CLOSEDLOOP_API_KEY=\n", encoding="utf-8")
    file.chmod(0o644)
    describe_home(home)
    for secret in ("CLOSEDLOOP_API_KEY=0123456789abcdef", "DATABASE=postgresql://me:it@host/loop"):
        file.write_text(f"{secret}\n", encoding="utf-8")
        with pytest.raises(ClosedLoopError, match="chmod 600"):
            describe_home(home)
    file.chmod(0o600)
    describe_home(home)
