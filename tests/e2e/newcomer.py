"""A newcomer's table of customers, and the commands typed for it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.cli.app import main
from closedloop.settings import Settings
from tests.e2e.first_command import kill, wait_for

ROWS = 2400


MONTHS = ("2026-01", "2026-02", "2026-03")


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, read as a program reads it."""
        assert self.code == 0, self.err
        return json.loads(self.out)


def closedloop(*arguments: str) -> Result:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments, os.environ)
    return Result(code, out.getvalue(), err.getvalue())


def customers() -> pd.DataFrame:
    """Three months of customers with keys like 007; who leaves depends on all of age, plan and
    visits."""
    random, months = np.random.default_rng(5), []
    for number, month in enumerate(MONTHS):
        age = random.normal(40, 10, ROWS).round(1)
        plan = random.choice(["basic", "plus", "pro"], ROWS, p=[0.5, 0.3, 0.2])
        visits = random.poisson(4, ROWS)
        logit = -0.5 + 0.06 * (age - 40) + np.where(plan == "basic", 1.0, -0.5) - 0.25 * visits
        keys = [f"{number * ROWS + place:05d}" for place in range(ROWS)]
        left = np.where(random.random(ROWS) < 1 / (1 + np.exp(-logit)), "yes", "no")
        months.append(
            pd.DataFrame(
                {
                    "customer_id": keys,
                    "month": month,
                    "age": age,
                    "plan": plan,
                    "visits": visits,
                    "left": left,
                }
            )
        )
    return pd.concat(months, ignore_index=True)


@dataclass(frozen=True)
class Story:
    """The folder it happened in, what each step left behind, and what of it others could read."""

    folder: Path
    init: Result
    doctor: Result
    turns: tuple[Result, ...]
    readable: tuple[str, ...]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """CSV -> init -> doctor -> monitor for each window; the first turn is a process of its own, the
    second of two because one was killed; the others share one Prefect server."""
    folder = tmp_path_factory.mktemp("story")
    os.umask(0o022)  # of a usual user; a test before may have opened a private home
    customers().to_csv(folder / "customers.csv", index=False)
    before, came_from = dict(os.environ), Path.cwd()
    os.chdir(folder)
    os.environ.update(
        {
            "CLOSEDLOOP_HOME": str(folder / "home"),
            "CLOSEDLOOP_USE_CASE": "loop.toml",
            "CLOSEDLOOP_REPORT_WINDOWS": "all",
            "COLUMNS": "100",
        }
    )
    try:
        written = closedloop(
            "init",
            "customers.csv",
            "--target",
            "left",
            "--window-column",
            "month",
            "--key",
            "customer_id",
        )
        examined = closedloop("doctor")
        command = [sys.executable, "-m", "closedloop", "monitor", "--window", MONTHS[0], "--json"]
        killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for(folder / "home" / "prefect" / "prefect.db.part", killed)
        kill(killed, children=True)
        first = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        readable = tuple(
            str(path.relative_to(folder))
            for path in folder.rglob("*")
            if path.stat().st_mode & 0o077
        )
        os.environ.update(Settings().library_environment())
        from flows.deployment.embedded_server import embedded_prefect, using

        with embedded_prefect(folder) as server, using(server):
            others = [closedloop("monitor", "--window", month, "--json") for month in MONTHS[1:]]
            yield Story(
                folder,
                written,
                examined,
                (Result(first.returncode, first.stdout, first.stderr), *others),
                readable,
            )
    finally:
        os.chdir(came_from)
        os.environ.clear()
        os.environ.update(before)
