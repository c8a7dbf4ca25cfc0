"""What the registry promises about versions and aliases, with three backends: an embedded MLflow on
SQLite, a real MLflow server over HTTP, and a client in memory."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from closedloop.errors import RegistryError
from closedloop.registry.registry import Registry
from tests.contracts.backends import Backend, add, crashing, state


def test_a_model_that_was_never_registered_has_nothing(any_backend: Backend) -> None:
    """No production, no previous, no versions, no candidate: answers, not errors."""
    registry = any_backend.new()
    assert state(registry) == (None, None, ())
    assert registry.find_candidate("a key") is None
    with pytest.raises(RegistryError, match="got versions none yet"):
        registry.version(1)


def test_what_was_registered_is_found_again(any_backend: Backend) -> None:
    """Numbers are integers, tags come back as facts, and versions are listed oldest first."""
    registry = any_backend.new()
    add(registry, 11)
    versions = any_backend.open(registry.name).versions()
    assert [version.version for version in versions] == list(range(1, 12))
    assert all(type(version.version) is int for version in versions)
    tenth = registry.version(10)
    assert (
        tenth.status,
        tenth.key,
        tenth.recipe,
        tenth.window,
        tenth.trained_through,
        tenth.val_auc,
        tenth.aliases,
    ) == ("candidate", "key-9", "logistic/all", "w9", "w9", 0.75, ())
    registry.promote(10, instead_of=None, reason="best")
    assert type(registry.production()) is int
    assert registry.version(10).aliases == ("production",)


def test_the_head_of_the_journal_is_kept_beside_the_versions(any_backend: Backend) -> None:
    """Nothing before the first version; then the newest, also for a new process."""
    registry = any_backend.new()
    registry.keep_head("early")
    assert registry.kept_head() is None
    add(registry, 1)
    for head in ("a" * 64, "b" * 64):
        registry.keep_head(head)
        assert any_backend.open(registry.name).kept_head() == head


def test_one_key_gives_one_version(any_backend: Backend) -> None:
    """Registering again, also from a new process, returns what is there."""
    registry = any_backend.new()
    add(registry, 1)
    assert any_backend.open(registry.name).register("key-0", "another run", {}) == 1
    assert len(registry.versions()) == 1


class RepeatingClient:
    """MLflow's client as it is when an answer gets lost: it sends the request again."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def create_model_version(self, *given: Any, **named: Any) -> Any:
        self._client.create_model_version(*given, **named)
        return self._client.create_model_version(*given, **named)


def test_a_lost_answer_leaves_one_version_that_counts(any_backend: Backend) -> None:
    """When a request was carried out twice both versions exist, but everyone is told of the same
    one."""
    registry = any_backend.new()
    add(registry, 1)
    run = registry.version(1).run_id
    registry._client_made = RepeatingClient(registry._client)
    assert registry.register("twice", run, {}) == 2
    assert any_backend.open(registry.name).register("twice", run, {}) == 2


# What is live


def test_the_life_of_versions(any_backend: Backend) -> None:
    """Candidate, production, archived, rejected: each promotion archives what it replaced and keeps
    the way back to it."""
    registry = any_backend.new()
    add(registry, 4)
    assert registry.promote(1, instead_of=None, reason="the first")
    assert state(registry) == (1, None, ("production", "candidate", "candidate", "candidate"))
    assert registry.promote(2, instead_of=1, reason="better")
    assert state(registry) == (2, 1, ("archived", "production", "candidate", "candidate"))
    assert registry.promote(3, instead_of=2, reason="better still")
    assert state(registry) == (3, 2, ("archived", "archived", "production", "candidate"))
    registry.reject(4, reason="worse")
    registry.reject(3, reason="live is not for rejecting")
    assert state(registry) == (3, 2, ("archived", "archived", "production", "rejected"))
    assert registry.version(2).aliases == ("previous",)


def test_a_version_names_the_decision_behind_it(any_backend: Backend) -> None:
    """The one that last made it production, also when it is archived, or the one that rejected it;
    what is live is not for rejecting, and keeps its own."""
    registry = any_backend.new()
    add(registry, 3)
    registry.promote(1, instead_of=None, reason="the first", decision=4)
    registry.promote(2, instead_of=1, reason="better", decision=7)
    registry.reject(2, reason="live", decision=8)
    registry.reject(3, reason="worse", decision=9)
    assert decisions(registry) == ["4", "7", "9"]
    registry.roll_back(1, instead_of=2, reason="worse after all", decision=12)
    assert decisions(registry) == ["12", "7", "9"]


def decisions(registry: Registry) -> list[str]:
    versions = (
        registry._client.get_model_version(registry.name, str(place)) for place in (1, 2, 3)
    )
    return [version.tags["closedloop.decision"] for version in versions]


def test_after_a_rollback_there_is_no_previous(any_backend: Backend) -> None:
    """What was left is archived and is no way back; the version gone back to is production
    again."""
    registry = any_backend.new()
    add(registry, 2)
    registry.promote(1, instead_of=None, reason="first")
    registry.promote(2, instead_of=1, reason="better")
    assert registry.roll_back(1, instead_of=2, reason="worse after all")
    assert state(registry) == (1, None, ("production", "archived"))


def test_going_back_further_than_previous(any_backend: Backend) -> None:
    """Any version can be gone back to; no previous is left either."""
    registry = any_backend.new()
    add(registry, 3)
    for number, before in ((1, None), (2, 1), (3, 2)):
        registry.promote(number, instead_of=before, reason="better")
    assert registry.roll_back(1, instead_of=3, reason="much worse")
    assert state(registry) == (1, None, ("production", "archived", "archived"))


def test_nothing_moves_when_production_is_another(any_backend: Backend) -> None:
    """A promotion and a rollback that were decided about a version that is no longer live say False
    and change nothing."""
    registry = any_backend.new()
    add(registry, 4)
    for number, before in ((1, None), (2, 1)):
        registry.promote(number, instead_of=before, reason="better")
    before = state(registry)
    assert registry.promote(3, instead_of=1, reason="decided when 1 was live") is False
    assert registry.promote(3, instead_of=None, reason="decided when nothing was live") is False
    assert registry.roll_back(1, instead_of=3, reason="decided when 3 was live") is False
    assert state(registry) == before


def test_a_version_that_is_not_there_cannot_go_live(any_backend: Backend) -> None:
    """Neither forwards nor back: the versions that exist are named and production stays."""
    registry = any_backend.new()
    add(registry, 2)
    registry.promote(1, instead_of=None, reason="first")
    for move in (
        lambda: registry.promote(9, instead_of=1, reason=""),
        lambda: registry.roll_back(9, instead_of=1, reason=""),
    ):
        with pytest.raises(RegistryError, match="wanted version 9, got versions 1, 2"):
            move()
    assert state(registry) == (1, None, ("production", "candidate"))


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        (
            lambda registry: registry.promote(3, instead_of=2, reason="better"),
            (3, 2, ("archived", "archived", "production")),
        ),
        (
            lambda registry: registry.roll_back(1, instead_of=2, reason="worse"),
            (1, None, ("production", "archived", "candidate")),
        ),
        (
            lambda registry: registry.reject(3, reason="worse"),
            (2, 1, ("archived", "production", "rejected")),
        ),
    ],
    ids=["promote", "roll back", "reject"],
)
def test_a_move_repeated_after_a_crash_anywhere_ends_alike(
    any_backend: Backend, move: Callable[[Registry], object], expected: tuple[Any, ...]
) -> None:
    """For every call to MLflow: a crash just before it leaves production and previous usable, and
    the same move ends in the same state."""
    registry = any_backend.new()
    add(registry, 3)
    for calls in count():
        begin_with_two_live_in_turn(registry)
        try:
            move(crashing(any_backend, registry.name, calls))
        except RegistryError:
            assert registry.production() in (1, 2, 3)
            move(any_backend.open(registry.name))
            assert state(registry) == expected, f"after a crash before call {calls + 1}"
        else:
            break
    assert state(registry) == expected
    assert calls > 2


def begin_with_two_live_in_turn(registry: Registry) -> None:
    """Versions 1 and 2 were promoted, 3 waits; set by hand, so that every round begins alike."""
    client, name = registry._client, registry.name
    client.set_registered_model_alias(name, "previous", "1")
    client.set_registered_model_alias(name, "production", "2")
    for number, status in enumerate(("archived", "production", "candidate"), start=1):
        client.set_model_version_tag(name, str(number), "closedloop.status", status)


def test_loading_a_version_that_is_not_there_names_those_that_are(any_backend: Backend) -> None:
    """The error says which versions could be loaded."""
    registry = any_backend.new()
    add(registry, 2)
    with pytest.raises(RegistryError, match="wanted version 7, got versions 1, 2"):
        registry.load(7)
