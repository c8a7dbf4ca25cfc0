"""What `closedloop status` says."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest
from rich.console import Console

from closedloop.cli.status_view import read_status, show_status
from closedloop.decisions.checks import Action
from closedloop.decisions.deciding_measure import Measured
from closedloop.records.store import Records
from closedloop.turn.carry_out import carry_out


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
    assert read_status(place.loop, {})["reference"] == {
        "val_auc": 0.55,
        "measure": "roc_auc",
        "value": 0.55,
        "fell_from": None,
    }


def test_what_losses_are_measured_against_is_in_the_measure_that_decides(shop: Any) -> None:
    """A log loss that rose is told as one, and a version that another measure promoted says
    nothing."""
    policy = shop.loop.use_case.policy
    rules = replace(policy.promotion, measure="log_loss")
    use_case = replace(shop.loop.use_case, policy=replace(policy, promotion=rules))
    shop.loop = replace(shop.loop, use_case=use_case)
    for number, measured in enumerate((None, -0.30, -0.45)):
        tags = {"val_auc": "0.8", "val_auc_error": "0.01"}
        if measured is not None:
            tags["measured"] = json.dumps(asdict(Measured("log_loss", measured, 0.01)))
        shop.loop.registry.register(f"key-{number}", f"run-{number}", tags)
        shop.loop.registry.promote(
            number + 1, instead_of=shop.loop.registry.production(), reason="better"
        )
        if number == 1:
            assert "what losses are measured against" not in _told(shop)
    assert "what losses are measured against rises from 0.3000 to 0.4500" in _told(shop)


def test_a_last_decision_that_was_superseded_is_shown_as_such(shop: Any) -> None:
    """A promotion that was not carried out does not look like one that was."""
    shop.add(2)
    entry = shop.decide(Action.PROMOTE, 2)
    shop.loop.registry.promote(1, instead_of=None, reason="meanwhile")
    carry_out(shop.loop, entry)
    assert "promote (superseded: production is meanwhile version 1, and this compared with" in (
        _told(shop)
    )
