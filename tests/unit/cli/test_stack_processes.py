"""The processes of `closedloop up`: what each is told of one use case, or of several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from closedloop.cli.stack_processes import StackProcess, list_processes
from closedloop.errors import UseCaseError
from closedloop.settings import Settings
from closedloop.turn.open import open_loop

LOOP_TOML = """
name = "{name}"
[source]
query = "SELECT 1"
windows = "*.csv"
[target]
column = "left"
classes = ["no", "yes"]
[columns.age]
type = "numeric"
"""


def plan(folder: Path, *names: str, **changes: Any) -> dict[str, StackProcess]:
    """The processes by name, for use cases of these names in a folder."""
    settings = Settings(home=folder / "home", **changes)
    loops = []
    for place, name in enumerate(names):
        path = folder / f"u{place}" / "loop.toml"
        path.parent.mkdir(parents=True)
        path.write_text(LOOP_TOML.format(name=name), encoding="utf-8")
        loops.append(open_loop(path, settings=settings))
    processes = list_processes(settings, loops, ["0 6 * * *"] * len(loops), {})
    return {process.name: process for process in processes}


def test_one_use_case_is_named_on_the_command_line(tmp_path: Path) -> None:
    """Whatever the environment or .env name, the API serves that one; its path may have a comma."""
    found = plan(tmp_path / "a,b", "shop")
    path = str(tmp_path / "a,b" / "u0" / "loop.toml")
    assert path in found["API"].command
    assert "CLOSEDLOOP_USE_CASES" not in found["API"].environment
    assert set(found) == {"MLflow", "Prefect", "deployments", "API", "page-shop"}


def test_several_have_a_page_each(tmp_path: Path) -> None:
    """On the next ports; only the first is where people find it under another address, and names
    that differ by a capital have two logs."""
    found = plan(tmp_path, "shop", "Fraud", "fraud", page_url="https://loop.example.org/")
    pages = [found[f"page-{name}"] for name in ("shop", "Fraud", "fraud")]
    assert [page.port for page in pages] == [8001, 8002, 8003]
    assert [page.environment["CLOSEDLOOP_PAGE_URL"] for page in pages] == [
        "https://loop.example.org",
        "http://127.0.0.1:8002",
        "http://127.0.0.1:8003",
    ]
    paths = [str(tmp_path / f"u{place}" / "loop.toml") for place in range(3)]
    for name in ("API", "deployments"):
        assert found[name].environment["CLOSEDLOOP_USE_CASES"] == ",".join(paths)
    assert found["deployments"].command[3::2] == paths


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"page_port": 8079, "port": 8080}, "that of"),
        ({"page_port": 65_535}, "65536"),
    ],
)
def test_ports_that_no_setting_names_are_checked(
    tmp_path: Path, changes: dict[str, int], said: str
) -> None:
    """The port of a further page may be taken by the API, or there may be none."""
    with pytest.raises(UseCaseError, match=said):
        plan(tmp_path, "shop", "fraud", **changes)


def test_a_comma_in_a_path_is_refused_where_commas_separate(tmp_path: Path) -> None:
    """The children would read two paths."""
    with pytest.raises(UseCaseError, match="comma"):
        plan(tmp_path / "a,b", "shop", "fraud")
