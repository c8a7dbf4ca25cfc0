"""The windows that Prefect's page offers to whoever starts a run there."""

from __future__ import annotations

from typing import Any

import pytest

FORM: dict[str, Any] = {
    "title": "Parameters",
    "properties": {"use_case": {"type": "string"}, "window": {"type": "string", "default": ""}},
}


@pytest.fixture
def choices() -> Any:
    """The module, imported here because Prefect reads its settings when it is imported."""
    from flows.prefect_client import window_choices

    return window_choices


def test_the_newest_windows_are_offered_first(choices: Any) -> None:
    """The empty choice comes first, the oldest windows of a long history are left out, and the rest
    of the form stays as it was."""
    most = choices.MOST_WINDOWS
    form = choices.offer_choices(FORM, "loop.toml", [f"w{number}" for number in range(most + 1)])
    offered = form["properties"]["window"].pop("enum")
    assert (offered[:3], offered[-1], len(offered)) == (
        ["", f"w{most}", f"w{most - 1}"],
        "w1",
        most + 1,
    )
    assert form["properties"]["window"] == FORM["properties"]["window"]
    assert form["properties"]["use_case"] == {
        "type": "string",
        "enum": ["loop.toml"],
        "default": "loop.toml",
        "readOnly": True,
    }


def test_offering_again_changes_nothing(choices: Any) -> None:
    """An up-to-date form stays the same, and a flow without these parameters does not get them."""
    offered = choices.offer_choices(FORM, "loop.toml", ["a", "b"])
    assert choices.offer_choices(offered, "loop.toml", ["a", "b"]) == offered
    asking = {"properties": {"decision": {"type": "string"}}}
    waits = choices.offer_choices(asking, "loop.toml", [], ["7: version 5 for 2026-03"])
    assert waits["properties"]["decision"]["enum"] == ["7: version 5 for 2026-03"]
    nobody = choices.offer_choices(waits, "loop.toml", [])
    assert nobody["properties"]["decision"]["enum"] == [""]
    assert choices.offer_choices({"properties": {"days": {}}}, "loop.toml", ["a"]) == {
        "properties": {"days": {}}
    }
