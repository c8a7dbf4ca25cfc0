"""The shipped use cases, and every file like them, are the same use case after an update."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from closedloop.decisions.fingerprint import ADDED_LATER, describe
from closedloop.use_case.loop_toml import load_use_case

DATA = Path(__file__).parents[3] / "data"


@pytest.mark.parametrize(
    ("name", "fingerprint", "policy"),
    [("streamflow", "c0f26505086b", "885ea251de12"), ("iris", "0cab3c65c770", "eefad90a1628")],
)
def test_old_files_keep_their_fingerprint(name: str, fingerprint: str, policy: str) -> None:
    """Keys of decisions hold the fingerprint: another one would take every turn again."""
    use_case = load_use_case(DATA / name)
    assert (use_case.fingerprint, use_case.policy.fingerprint) == (fingerprint, policy)


def test_a_field_added_later_counts_once_it_is_set() -> None:
    """At its default it is left out of what the fingerprint is taken of, however deep it is."""

    @dataclass(frozen=True)
    class Part:
        old: int = 1
        new: int = field(default=2, metadata=ADDED_LATER)

    assert describe({"parts": (Part(), Part(new=3))}) == {
        "parts": [{"old": 1}, {"old": 1, "new": 3}]
    }
