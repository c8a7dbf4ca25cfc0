"""`kill -9` of the first command, and two first commands at once: the same command ends well.

A newcomer's story (test_cli.py) begins with a killed command in every run.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.e2e.first_command import finish, kill, start, write_data

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(5400)]

KILLS, ROUNDS = 60, 20


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return folder


def test_a_command_killed_at_any_moment_can_be_run_again(tmp_path: Path, data: Path) -> None:
    """At 60 random moments of the first command on an empty home, every second time together with
    all that it has started."""
    began = time.monotonic()
    finish(start(tmp_path / "whole", data))
    length, seed = time.monotonic() - began, random.randrange(10**6)
    print(f"seed {seed}, the command takes {length:.1f} s")
    chance = random.Random(seed)
    for number in range(KILLS):
        home, moment = tmp_path / f"home-{number}", chance.uniform(0, length)
        process = start(home, data)
        time.sleep(moment)  # the moment is what is tried
        kill(process, children=bool(number % 2))
        print(f"kill {number} after {moment:.2f} s")
        finish(start(home, data))
        assert not list(home.rglob("*.part"))


def test_two_first_commands_at_once_end_well(tmp_path: Path, data: Path) -> None:
    """20 times, each on a home of its own."""
    for number in range(ROUNDS):
        home = tmp_path / f"home-{number}"
        both = [start(home, data) for _ in range(2)]
        for process in both:
            finish(process)
