"""What `closedloop status` says."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from closedloop.cli.status_view import read_status, show_status
from closedloop.records.store import Records


def _told(place: Any) -> str:
    text = io.StringIO()
    show_status(Console(file=text, width=300), read_status(place.loop, {}))
    return text.getvalue()


@pytest.fixture
def shop(place: Any) -> Any:
    """A use case whose service has recorded nothing yet."""
    place.loop = replace(place.loop, records=Records(place.loop.engine))
    return place


@pytest.mark.parametrize(
    ("before", "after", "falls"),
    [((0.83, 0.01), (0.55, 0.02), True), ((0.83, 0.02), (0.80, 0.02), False)],
)
def test_what_losses_are_measured_against_does_not_fall_without_a_word(
    shop: Any, before: tuple[float, float], after: tuple[float, float], falls: bool
) -> None:
    """A production whose val_auc is significantly below that of its predecessor is shown as such;
    a difference within both errors is not."""
    registry = shop.loop.registry
    for number, (auc, error) in enumerate((before, after)):
        tags = {"val_auc": repr(auc), "val_auc_error": repr(error)}
        registry.register(f"key-{number}", f"run-{number}", tags)
        registry.promote(number + 1, instead_of=registry.production(), reason="better")
    sentence = "what losses are measured against falls from 0.8300 to 0.5500"
    assert (sentence in _told(shop)) is falls
    assert read_status(shop.loop, {})["reference"]["fell_from"] == (0.83 if falls else None)


def test_a_first_version_falls_from_nothing(make_place: Callable[[], Any]) -> None:
    """Without a version before there is nothing to fall from; without production, no reference."""
    place = make_place()
    place.loop = replace(place.loop, records=Records(place.loop.engine))
    assert read_status(place.loop, {})["reference"] is None
    place.loop.registry.register("key", "run", {"val_auc": "0.55"})
    place.loop.registry.promote(1, instead_of=None, reason="first")
    assert read_status(place.loop, {})["reference"] == {"val_auc": 0.55, "fell_from": None}
