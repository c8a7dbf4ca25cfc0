"""What is deployed for whom, as far as no server is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from closedloop.errors import ClosedLoopError, UseCaseError
from closedloop.settings import Settings
from flows.deployment.deploy import deploy_everything, read_use_cases
from flows.server.forms import MOST_WINDOWS, offer_choices

REPOSITORY = Path(__file__).parents[3]
STREAMFLOW, IRIS = (REPOSITORY / "data" / name for name in ("streamflow", "iris"))
FORM = {
    "title": "Parameters",
    "properties": {"use_case": {"type": "string"}, "window": {"type": "string", "default": ""}},
}


def test_the_newest_windows_are_offered_first() -> None:
    """The empty choice stands first, a long history is cut at its old end, and what the form said
    otherwise stays."""
    form = offer_choices(FORM, "loop.toml", [f"w{number}" for number in range(MOST_WINDOWS + 1)])
    choices = form["properties"]["window"].pop("enum")
    assert (choices[:3], choices[-1], len(choices)) == (
        ["", f"w{MOST_WINDOWS}", f"w{MOST_WINDOWS - 1}"],
        "w1",
        MOST_WINDOWS + 1,
    )
    assert form["properties"]["window"] == FORM["properties"]["window"]  # type: ignore[index]
    assert form["properties"]["use_case"] == {
        "type": "string",
        "enum": ["loop.toml"],
        "default": "loop.toml",
        "readOnly": True,
    }


def test_offering_again_changes_nothing() -> None:
    """A form that is up to date is left alone, and a flow without these parameters has none of them
    added."""
    once = offer_choices(FORM, "loop.toml", ["a", "b"])
    assert offer_choices(once, "loop.toml", ["a", "b"]) == once
    assert offer_choices({"properties": {"days": {}}}, "loop.toml", ["a"]) == {
        "properties": {"days": {}}
    }


def test_which_use_cases_are_deployed() -> None:
    """CLOSEDLOOP_USE_CASES names several, CLOSEDLOOP_USE_CASE stands in for an empty list."""
    assert [
        one.name
        for one in read_use_cases(Settings(use_cases=f"{STREAMFLOW}, {IRIS / 'loop.toml'},"))
    ] == ["streamflow", "iris"]
    assert [one.name for one in read_use_cases(Settings(use_cases=" ", use_case=IRIS))] == ["iris"]


def test_two_use_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    """Their deployments would overwrite each other, and their models and decisions would mix."""
    text = (IRIS / "loop.toml").read_text(encoding="utf-8").replace('golden = "golden.json"', "")
    (tmp_path / "loop.toml").write_text(text, encoding="utf-8")
    with pytest.raises(
        UseCaseError,
        match=r"use cases of different names, got iris in .* and in .*: change the name",
    ):
        read_use_cases(Settings(use_cases=f"{IRIS},{tmp_path}"))


@pytest.mark.slow
def test_without_a_server_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """No address, and an address where nobody answers, are each one sentence with what to do."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pytest.raises(
        ClosedLoopError,
        match="PREFECT_API_URL: wanted the address of a Prefect server, got nothing",
    ):
        deploy_everything(Settings(use_case=IRIS))
    from prefect.settings import PREFECT_API_URL, temporary_settings

    nobody = "http://127.0.0.1:9/api"
    monkeypatch.setenv("PREFECT_API_URL", nobody)
    with (
        temporary_settings(updates={PREFECT_API_URL: nobody}),
        pytest.raises(ClosedLoopError, match="wanted a Prefect server that answers"),
    ):
        deploy_everything(Settings(use_case=IRIS))
