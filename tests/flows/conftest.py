"""A small use case on disk, a real Prefect server, and processes that can be killed at any step."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from closedloop.settings import Settings
from closedloop.turn.open import Loop, open_loop
from closedloop.use_case.loop_toml import load_use_case
from closedloop.windows.streamflow_month import subscription_month
from closedloop.windows.synthetic import write_generated
from flows.deployment.embedded_server import embedded_prefect, using
from tests.flows.shown_pages import shown
from tests.flows.steps import Steps, watch_steps

REPOSITORY = Path(__file__).resolve().parents[2]
ROWS = 900
CAMPAIGN_WINDOWS = ("month_000", "month_002")


@pytest.fixture(scope="package")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prefect server; flows of this process and of its children run on it."""
    home = tmp_path_factory.mktemp("prefect")
    before = dict(os.environ)
    for name, value in Settings(home=home).library_environment().items():
        os.environ[name] = value
    os.environ.pop("PREFECT_API_URL", None)
    with embedded_prefect(home) as server, using(server):
        assert server is not None
        yield server.url
    os.environ.clear()
    os.environ.update(before)


@dataclass(frozen=True)
class Place:
    """A use case with its own home: `settings` and the path of its loop.toml."""

    settings: Settings
    path: Path

    def open(self) -> Loop:
        return open_loop(self.path, settings=self.settings)


def write_use_case(folder: Path, *, changes: dict[str, str] | None = None) -> Path:
    """StreamFlow's loop.toml with the logistic recipe only, limits for small months and no
    cooldown; `changes` replaces text in it."""
    text = (REPOSITORY / "data/streamflow/loop.toml").read_text(encoding="utf-8")
    for old, new in {
        'recipes = ["logistic", "lightgbm"]': 'recipes = ["logistic"]',
        "min_new_labels = 500": "min_new_labels = 100",
        "min_rows = 500": "min_rows = 100",
        "cooldown_windows = 1": "cooldown_windows = 0",
        **(changes or {}),
    }.items():
        assert old in text, f"loop.toml no longer says {old!r}: mend this test's use case"
        text = text.replace(old, new)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "loop.toml").write_text(text, encoding="utf-8")
    shutil.copy(REPOSITORY / "data/streamflow/golden.json", folder / "golden.json")
    return folder / "loop.toml"


@pytest.fixture
def make_place(tmp_path: Path, make_mlflow_tables: Callable[[Path], None]) -> Callable[..., Place]:
    """Make a use case with the months given, each month of the generator under the name of its
    place in time."""

    def make(
        *months: int, name: str = "case", changes: dict[str, str] | None = None, rows: int = ROWS
    ) -> Place:
        path = write_use_case(tmp_path / name, changes=changes)
        add_months(path, *months, rows=rows)
        make_mlflow_tables(tmp_path / f"{name}-home")
        return Place(_settings(tmp_path / f"{name}-home"), path)

    return make


def add_months(path: Path, *months: int, rows: int = ROWS) -> None:
    """Write generated months as month_000, month_001, ... after those that are there."""
    use_case = load_use_case(path)
    root = path.parent / use_case.source.root
    already = len(list(root.glob("month_*"))) if root.exists() else 0
    windows = {
        f"month_{already + place:03d}": subscription_month(month, seed=place, rows=rows)
        for place, month in enumerate(months)
    }
    write_generated(use_case, None, windows)


PRELOADED = [
    "closedloop.turn.register",
    "closedloop.turn.carry_out",
    "flows.monitor_flow",
    "mlflow.sklearn",
    "skops.io",
    "lightgbm",
    "matplotlib.figure",
]


@pytest.fixture(scope="package")
def processes(prefect: str) -> Any:
    """A multiprocessing context whose children have everything imported: a process that can be
    killed costs a fork, not ten seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def run_flow(
    url: str,
    login: str,
    name: str,
    place: Place,
    window: str,
    kill_at: int | str | None,
    calls: Any,
    check: Callable[..., None] | None,
) -> None:
    """In a child process: run a flow, and die by SIGKILL when the step `kill_at` is reached; a step
    is a call that changes something outside the process, and the process dies before it, or after
    the last one."""
    os.environ["CLOSEDLOOP_HOME"] = str(place.settings.home)
    steps = Steps(kill_at)
    watch_steps(steps)
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    from flows.monitor_flow import monitor_flow
    from flows.train_and_compare_flow import train_and_compare_flow

    # Said here and not left to the environment: the process that we were forked from may be older
    # than the server.
    with temporary_settings(updates={PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: login}):
        {"monitor": monitor_flow, "train": train_and_compare_flow}[name](
            use_case=str(place.path), window=window
        )
    steps.reach("the end")
    calls.put(steps.taken)
    if check is not None:
        check(place, window)


@pytest.fixture
def run(processes: Any, prefect: str) -> Callable[..., tuple[int, list[str]]]:
    """Run a flow in a process of its own; returns its exit code (-9 when it was killed, 1 when
    `check` failed) and the steps it took.

    `check(place, window)` runs in that process after the flow: no open connection of ours then sees
    the state of an earlier round.
    """

    def run_in_process(
        name: str,
        place: Place,
        window: str,
        *,
        kill_at: int | str | None = None,
        check: Callable[..., None] | None = None,
    ) -> tuple[int, list[str]]:
        calls = processes.SimpleQueue()
        login = os.environ["PREFECT_API_AUTH_STRING"]
        child = processes.Process(
            target=run_flow, args=(prefect, login, name, place, window, kill_at, calls, check)
        )
        child.start()
        child.join()
        assert child.exitcode is not None
        return child.exitcode, ([] if calls.empty() else calls.get())

    return run_in_process


if sys.platform == "win32":
    pytest.skip("the lock and the kills need a POSIX system", allow_module_level=True)


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, str]]]:
    """Run a flow in this process; returns (kind, action) of every decision about the window."""
    from flows.monitor_flow import monitor_flow
    from flows.train_and_compare_flow import train_and_compare_flow

    def start(
        place: Any, window: str, name: str = "monitor", **named: Any
    ) -> list[tuple[str, str]]:
        monkeypatch.setenv("CLOSEDLOOP_HOME", str(place.settings.home))
        flow = {"monitor": monitor_flow, "train": train_and_compare_flow}[name]
        flow(use_case=str(place.path), window=window, **named)
        return decisions_of(place, window)

    return start


@dataclass(frozen=True)
class Campaign:
    """Two turns that were taken: what each decided, and the pages that Prefect had then."""

    place: Place
    first: list[tuple[str, str]]
    second: list[tuple[str, str]]
    pages: dict[str, str]


@pytest.fixture(scope="package")
def campaign(
    prefect: str,
    tmp_path_factory: pytest.TempPathFactory,
    make_mlflow_tables: Callable[[Path], None],
) -> Campaign:
    """month_000 made version 1, and month_002, of a campaign, version 2: both were promoted. Nobody
    looked at month_001.

    To be looked at; who moves something takes a copy (`campaign_copy`).
    """
    from flows.monitor_flow import monitor_flow

    folder = tmp_path_factory.mktemp("campaign")
    path = write_use_case(folder / "case")
    add_months(path, 0, 1, 2)
    make_mlflow_tables(folder / "home")
    place = Place(_settings(folder / "home"), path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOSEDLOOP_HOME", str(folder / "home"))
        for window in CAMPAIGN_WINDOWS:
            monitor_flow(use_case=str(path), window=window)
    pages = {key: shown(key) for key in ("turn-decision", "promotion-decision")}
    decided = (decisions_of(place, window) for window in CAMPAIGN_WINDOWS)
    return Campaign(place, *decided, pages)


@pytest.fixture
def campaign_copy(campaign: Campaign, tmp_path: Path) -> Place:
    """The place of the campaign, with files of its own."""
    shutil.copytree(campaign.place.path.parent, tmp_path / "case")
    shutil.copytree(campaign.place.settings.home, tmp_path / "home")
    return Place(_settings(tmp_path / "home"), tmp_path / "case" / "loop.toml")


def _settings(home: Path) -> Settings:
    return Settings(home=home, data=None, database_url=None, mlflow_url=None)


def decisions_of(place: Any, window: str) -> list[tuple[str, str]]:
    loop = place.open()
    entries = [
        entry
        for entry in loop.journal.history(loop.use_case.name)
        if entry.decision.window == window
    ]
    return [(entry.decision.kind.value, entry.decision.action.value) for entry in entries]
