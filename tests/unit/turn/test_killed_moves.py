"""A move of `production` that is killed anywhere: after the next command, registry, journal and
what a service would follow agree."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.turned_loop import TurnedLoop, write_loop

pytestmark = pytest.mark.slow

# Before each of these calls the process can die.
WATCHED = {
    "mlflow.MlflowClient": (
        "set_registered_model_alias",
        "delete_registered_model_alias",
        "set_model_version_tag",
        "set_registered_model_tag",
    ),
    "closedloop.storage.journal.Journal": ("write", "carried_out"),
}


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, make_mlflow_tables: Callable[[Path], None]
) -> TurnedLoop:
    """Two versions with files, and a year of windows."""
    turned = write_loop(tmp_path_factory.mktemp("shop"), 12, history="all")
    make_mlflow_tables(turned.settings.home_folder)
    run(train, turned)
    return turned


def run(work: Callable[..., None], *given: Any, kill_at: int | None = None) -> tuple[int, int]:
    """Do the work in a process of its own, which dies before its step `kill_at`; returns its exit
    code and how many steps it took."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["closedloop.turn.begin_turn", "closedloop.turn.register", "mlflow", "skops.io"]
    )
    steps = context.Value("i", 0)
    child = context.Process(target=_work, args=(work, given, kill_at, steps))
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode, steps.value


def _work(
    work: Callable[..., None], given: tuple[Any, ...], kill_at: int | None, steps: Any
) -> None:
    from importlib import import_module

    def watch(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            if steps.value == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            steps.value += 1
            return original(*arguments, **named)

        setattr(owner, name, watched)

    if kill_at is not None or work is not check_agreement:
        for path, names in WATCHED.items():
            module, _, owner = path.rpartition(".")
            for name in names:
                watch(getattr(import_module(module), owner), name)
    work(*given)
    if steps.value == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    steps.value += 1


def train(turned: TurnedLoop) -> None:
    for window in ("2026-01", "2026-02"):
        turned.train(window)
    loop = turned.open()
    assert loop.registry.production() == 2


def promote(turned: TurnedLoop, version: int, window: str) -> None:
    from closedloop.turn.move_by_hand import promote_by_hand

    promote_by_hand(turned.open(), version)


def roll_back(turned: TurnedLoop, version: int, window: str) -> None:
    from closedloop.turn.move_by_hand import roll_back_by_hand

    roll_back_by_hand(turned.open(), version)


def move_back(turned: TurnedLoop, version: int, window: str) -> None:
    """A turn that finds production moved outside of closedloop to another version."""
    _turn(turned, window)


def move_outside(turned: TurnedLoop, version: int) -> None:
    registry = turned.open().registry
    registry._client.set_registered_model_alias("shop", "production", str(version))


def _turn(turned: TurnedLoop, window: str) -> None:
    from closedloop.decisions.registry_policy import RegistryPolicy
    from closedloop.turn.begin_turn import begin_turn

    loop = turned.open()
    policy = replace(loop.use_case.policy, registry=RegistryPolicy("return"))
    loop = replace(loop, use_case=replace(loop.use_case, policy=policy))
    with loop.lock("monitor"):
        begin_turn(loop, window)


def check_agreement(turned: TurnedLoop, window: str) -> None:
    """The next turn, then `closedloop doctor`, and what a service would follow."""
    from closedloop.cli.app import main
    from closedloop.registry.live import ProductionReader
    from closedloop.turn.known_production import KnownProduction
    from closedloop.turn.live_at import live_at

    _turn(turned, window)
    loop = turned.open()
    home = {"CLOSEDLOOP_HOME": str(turned.settings.home_folder)}
    assert main(["doctor", "--use-case", str(turned.path)], {**os.environ, **home}) == 0
    settings, live = loop.settings, loop.registry.production()
    reader = ProductionReader(
        "shop",
        settings.tracking_uri,
        artifacts=settings.artifacts_folder,
        downloads=settings.home_folder / "serving",
    )
    assert KnownProduction(reader, loop.journal, "shop").find() == live
    found = live_at(loop.journal, "shop", datetime.now(UTC))
    assert (found.version, found.begun) == (live, None)
    # Where its version is in production, the other one is not.
    statuses = {facts.version: facts.status for facts in loop.registry.versions()}
    assert [version for version, status in statuses.items() if status == "production"] == [live]


def choose_telling(steps: int) -> list[int]:
    """One alias moved, and all of them but nothing noted."""
    return [2, steps - 2]


@pytest.mark.parametrize(
    "move",
    [
        pytest.param(promote, marks=pytest.mark.nightly),
        roll_back,
        pytest.param(move_back, marks=pytest.mark.nightly),
    ],
)
@pytest.mark.parametrize(
    "choose",
    [choose_telling, pytest.param(range, marks=pytest.mark.nightly)],
    ids=["telling steps", "every step"],
)
def test_the_next_turn_brings_everything_into_agreement(
    trained: TurnedLoop, move: Callable[..., None], choose: Callable[[int], Any]
) -> None:
    """kill -9 before a call that changes the journal or MLflow, by hand and by a turn: the next
    turn finishes what was decided, and doctor finds nothing. What was not written down yet was
    never decided."""

    def move_once(window: str, kill_at: int | None = None) -> tuple[int, int]:
        target = 3 - (trained.open().registry.production() or 1)
        if move is move_back:
            run(move_outside, trained, target)
        code, steps = run(move, trained, target, window, kill_at=kill_at)
        assert run(check_agreement, trained, window)[0] == 0, f"killed at step {kill_at}: see above"
        return code, steps

    months = iter(f"2026-{month:02}" for month in range(1, 13))
    code, steps = move_once(next(months))
    assert (code, steps > 3) == (0, True)
    # A round may take a step less than the first one, when an alias is there already.
    codes = [move_once(next(months), kill_at=number)[0] for number in choose(steps)]
    assert {*codes[:-1]} == {-signal.SIGKILL}
