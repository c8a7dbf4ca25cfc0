"""A retraining that dies anywhere is finished by running it again: one candidate, one decision,
carried out once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from closedloop.decisions.checks import Kind

# What a call leaves behind when the process dies after it.
KINDS = {
    **dict.fromkeys(
        ["save_model", "create_run", "log_batch", "log_inputs", "_upload", "set_terminated"],
        "a run",
    ),
    **dict.fromkeys(["create_registered_model", "create_model_version"], "a version"),
    **dict.fromkeys(["set_registered_model_alias", "delete_registered_model_alias"], "an alias"),
}


def choose_telling(steps: list[str]) -> list[int]:
    """The last step of a run, of a version and of an alias: everything of its kind was begun by
    then and nothing of it is whole."""
    last = {KINDS.get(step, step): number for number, step in enumerate(steps)}
    return sorted(last[kind] for kind in set(KINDS.values()))


def assert_turned_once(place: Any, window: str) -> None:
    """One candidate for the window, one decision, carried out once, and version 2 in production."""
    loop = place.open()
    versions = [version for version in loop.registry.versions() if version.window == window]
    assert len(versions) == 1, f"{window} has {len(versions)} candidate versions"
    decisions = [
        entry
        for entry in loop.journal.history("streamflow")
        if entry.decision.window == window and entry.decision.kind is Kind.PROMOTION
    ]
    assert [entry.outcome for entry in decisions] == ["done"]
    assert decisions[0].decision.version == versions[0].version
    assert all(entry.outcome == "done" for entry in loop.journal.history("streamflow"))
    assert loop.registry.production() == 2, "the candidate was not promoted"
    assert loop.registry.previous() == 1
    assert [version.status for version in loop.registry.versions()] == ["archived", "production"]
    assert loop.registry.load(2).measure_self_test() == 0
    for version in loop.registry.versions():
        names = ["card.md", "card.html"]
        cards = loop.registry.read_run_files(version.run_id, names)
        assert list(cards) == names
        assert all(f"version {version.version}" in card for card in cards.values())
        assert "Decision" in cards["card.md"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "choose",
    [choose_telling, pytest.param(lambda steps: range(len(steps)), marks=pytest.mark.nightly)],
    ids=["one step of each kind", "every step"],
)
def test_a_retraining_killed_at_any_step_is_finished_by_the_same_command(
    make_place: Callable[..., Any],
    run: Callable[..., tuple[int, list[str]]],
    tmp_path: Path,
    choose: Callable[[list[str]], Iterable[int]],
) -> None:
    """kill -9 before calls that write somewhere, then the same command: one version, one decision,
    done once."""
    place = make_place(0, 1)
    assert run("monitor", place, "month_000")[0] == 0
    home, kept = place.settings.home, tmp_path / "after month_000"
    shutil.copytree(home, kept)
    code, steps = run("train", place, "month_001", check=assert_turned_once)
    assert code == 0
    assert len(steps) > 15, f"too few steps are watched: {steps}"
    for number in choose(steps):
        step = steps[number]
        shutil.rmtree(home)
        shutil.copytree(kept, home)
        assert run("train", place, "month_001", kill_at=number)[0] == -9, (
            f"was not killed at step {number} ({step})"
        )
        code, _ = run("train", place, "month_001", check=assert_turned_once)
        assert code == 0, f"not as it should be after a kill at step {number} ({step}): see above"
