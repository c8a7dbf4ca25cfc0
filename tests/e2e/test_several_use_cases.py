"""Three use cases run on one stack without touching each other: turns, moves, answers, records,
and what deletes or takes away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from closedloop.cli.app import main
from closedloop.cli.examine.serving import describe_serving
from closedloop.decisions.checks import Action
from closedloop.operations.export import export_version
from closedloop.operations.forget import forget, plan_erasure
from closedloop.operations.prune import KeepRules, prune
from closedloop.turn.kept_out import read_kept_out
from closedloop.turn.move_by_hand import promote_by_hand, roll_back_by_hand
from closedloop.turn.open import Loop
from closedloop.turn.quarantine_by_hand import decide_by_hand
from tests.e2e.served_shop import Served, clean_environment, run_service
from tests.e2e.side_by_side import NAMES, WINDOWS, SideBySide
from tests.house.tree import ROOT
from tests.waiting import until

pytestmark = pytest.mark.nightly
ROW = {"spend": 40.5, "plan": "gold", "active": True}
ASKED = 60


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> SideBySide:
    """All three, each with two versions: trained at the same time, in processes of their own."""
    made = SideBySide(tmp_path_factory.mktemp("stack"))
    made.write()
    made.open("shop").registry.start()
    command = [sys.executable, "-m", "tests.e2e.side_by_side", str(made.folder)]
    children = [
        subprocess.Popen(
            [*command, name, *WINDOWS],
            cwd=ROOT,
            env={**clean_environment(), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in NAMES
    ]
    for child in children:
        _, said = child.communicate(timeout=900)
        assert child.returncode == 0, said
    for name in NAMES:
        loop = made.open(name)
        if loop.registry.production() != 2:
            promote_by_hand(loop, 2)
    return made


@pytest.fixture
def loops(stack: SideBySide) -> dict[str, Loop]:
    return {name: stack.open(name) for name in NAMES}


@contextmanager
def serving(stack: SideBySide, workers: int) -> Iterator[Served]:
    """The API of all three, as `closedloop serve` runs it."""
    options = ["--workers", str(workers)]
    with run_service(stack.folder, options, stack.environment) as served:
        yield served


def live(loops: dict[str, Loop]) -> list[int | None]:
    return [loops[name].registry.production() for name in NAMES]


def test_turns_at_the_same_time_leave_each_its_own(loops: dict[str, Loop]) -> None:
    """Each numbers its versions by itself, and its journal is whole and speaks of nobody else."""
    assert live(loops) == [2, 2, 2]
    for name, loop in loops.items():
        assert [version.version for version in loop.registry.versions()] == [1, 2]
        assert loop.registry.load(2).facts.name == name
        assert {entry.use_case for entry in loop.journal.history(name)} == {name}
        assert loop.journal.read_chain(name).faults == ()
    assert set(loops["shop"].journal.use_cases()) == set(NAMES)
    assert "visits" in loops["shop-2"].registry.load(2).use_case.columns
    assert "visits" not in loops["shop_2"].registry.load(2).use_case.columns


def test_nobody_waits_for_the_lock_of_another(loops: dict[str, Loop]) -> None:
    """While a turn and a training of one are under way, those of the others get their locks."""

    def take(name: str) -> str:
        with loops[name].training_lock("test"), loops[name].lock("test"):
            return name

    with ThreadPoolExecutor(3) as pool:
        with loops["shop"].training_lock("test"), loops["shop"].lock("test"):
            others = [pool.submit(take, name).result(timeout=60) for name in NAMES[1:]]
            waiting = pool.submit(take, "shop")
            assert not waiting.done()
        assert others == list(NAMES[1:])
        assert waiting.result(timeout=60) == "shop"


@pytest.mark.parametrize("workers", [1, 2])
def test_one_api_answers_all_of_them_at_once(
    stack: SideBySide, loops: dict[str, Loop], workers: int
) -> None:
    """Under load of all three, each answers with its own version and follows its own moves; ids and
    keys of rows, which are the same, are each use case's own."""
    before = {name: loops[name].records.count(name) for name in NAMES}

    def ask(name: str) -> list[str]:
        ids = []
        for number in range(ASKED):
            row = {**ROW, "customer": f"c-{number}"}
            answer = served.ask(f"/use-cases/{name}/predict", row)
            assert (answer["model"], answer["version"]) in ((name, 1), (name, 2))
            ids.append(answer["predictions"][0]["id"])
        return ids

    with serving(stack, workers) as served:
        for name in NAMES:
            at = f"/use-cases/{name}/ready"
            until(lambda at=at: served.ask(at).get("version") == 2, f"version 2 of {name}")
        with ThreadPoolExecutor(4) as pool:
            asking = {name: pool.submit(ask, name) for name in NAMES}
            roll_back_by_hand(loops["shop-2"])
            ids = {name: asked.result() for name, asked in asking.items()}
        assert live(loops) == [2, 1, 2]
        for name, version in zip(NAMES, (2, 1, 2), strict=True):
            until(
                lambda name=name, version=version: (
                    served.ask(f"/use-cases/{name}/predict", ROW)["version"] == version
                ),
                f"version {version} of {name}",
            )
            at_port = {"port": int(served.address.rpartition(":")[2])}
            asked = loops[name].settings.model_copy(update=at_port)
            told = describe_serving(replace(loops[name], settings=asked))
            assert f"answers with version {version}, as" in told
        for name in NAMES:
            for other in NAMES:
                label = {"labels": [{"id": ids[name][0], "label": "yes"}]}
                said = served.ask(f"/use-cases/{other}/labels", label)
                assert ("recorded" in said) is (other == name), said
        # Of the same key, one stayed and one left.
        for name, stayed in zip(NAMES, ("no", "yes", "no"), strict=True):
            label = {"labels": [{"key": "c-1", "label": stayed}]}
            assert served.ask(f"/use-cases/{name}/labels", label) == {"recorded": 1}
        assert served.ask("/predict", ROW)["model"] == "shop"
        assert "shop, shop-2, shop_2" in served.ask("/use-cases/shop-3/model")["detail"]
        said = served.ask("/metrics")
    for name in NAMES:
        of_labels = f'closedloop_requests_total{{route="/labels",status="404",use_case="{name}"}}'
        assert f"{of_labels} 2.0" in said
        counted = loops[name].records.count(name)
        assert counted.labels == before[name].labels + 2
        assert counted.predictions - before[name].predictions > ASKED
        kept = [path.name for path in (stack.home / "serving" / name).glob("*-*")]
        assert kept
    promote_by_hand(loops["shop-2"], 2)
    assert live(loops) == [2, 2, 2]


@pytest.fixture
def answered(stack: SideBySide, loops: dict[str, Loop]) -> dict[str, Any]:
    """One answer of each for the same key, and how many rows each has on record."""
    with serving(stack, 1) as served:
        for name in NAMES:
            for key in ("gone", "stays"):
                served.ask(f"/use-cases/{name}/predict", {**ROW, "customer": key})
    return {name: loops[name].records.count(name).predictions for name in NAMES}


def test_what_deletes_touches_one_of_them(
    loops: dict[str, Loop], answered: dict[str, int], tmp_path: Path
) -> None:
    """A person is forgotten, windows are kept out, and files and rows are pruned in one use case;
    the others keep theirs, the same key included. An export is that of its own."""
    held = {name: plan_erasure(loops[name], "gone").facts.erased_rows for name in NAMES}
    done = forget(loops["shop-2"], "gone", by="test")
    assert done.facts.erased_rows == held["shop-2"] > 0
    left = [plan_erasure(loops[name], "gone").facts.erased_rows for name in NAMES]
    assert left == [held["shop"], 0, held["shop_2"]]
    digests = {plan_erasure(loops[name], "gone").facts.digest for name in NAMES}
    assert len(digests) == 3, "the same key is not recognised from one use case to another"

    decide_by_hand(loops["shop-2"], Action.QUARANTINE, "2026-01")
    kept_out = [len(read_kept_out(loops[name].journal.history(name))) for name in NAMES]
    assert kept_out == [0, 1, 0]

    roll_back_by_hand(loops["shop"])
    promote_by_hand(loops["shop"], 2)
    prune(loops["shop"], KeepRules(0, 0, 0))
    for name in NAMES[1:]:
        assert [loops[name].registry.load(number).facts.name for number in (1, 2)] == [name] * 2
    later = loops["shop"].records.now()
    loops["shop"].records.delete_before("shop", later)
    counts = [loops[name].records.count(name).predictions for name in NAMES]
    assert counts == [0, answered["shop-2"] - held["shop-2"], answered["shop_2"]]

    export_version(loops["shop_2"], 2, tmp_path / "export")
    contract = json.loads((tmp_path / "export" / "contract.json").read_text(encoding="utf-8"))
    assert (contract["name"], "visits" in contract["columns"]) == ("shop_2", False)


def test_status_lists_them(
    stack: SideBySide, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line each, in the order in which they are named."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(("CLOSEDLOOP_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    assert main(["status"], dict(os.environ)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(NAMES)
    assert all("production is version 2 (logistic/recent" in line for line in lines)
