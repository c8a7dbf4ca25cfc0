"""Alerts lead to the page of their own use case."""

from __future__ import annotations

from pathlib import Path

from closedloop.operations.access.servers_file import RunningServer, announced, name_page
from closedloop.operations.alerts.page_link import find_page
from closedloop.settings import Settings
from closedloop.turn.open import open_loop
from tests.unit.cli.test_stack_processes import LOOP_TOML


def test_the_page_that_runs_comes_before_the_setting(tmp_path: Path) -> None:
    """`up` runs a page for each use case; without it CLOSEDLOOP_PAGE_URL counts, or there is no
    link."""
    loops = {}
    for name in ("shop", "fraud"):
        path = tmp_path / f"{name}.toml"
        path.write_text(LOOP_TOML.format(name=name), encoding="utf-8")
        settings = Settings(home=tmp_path / "home", page_url="https://loop.example.org/")
        loops[name] = open_loop(path, settings=settings)
    (tmp_path / "home").mkdir(exist_ok=True)
    address = "http://127.0.0.1:8002"
    servers = {name_page("fraud"): RunningServer(address, "closedloop:x", "/enter")}
    with announced(tmp_path / "home", servers):
        assert find_page(loops["fraud"]) == address
        assert find_page(loops["shop"]) == "https://loop.example.org"
    assert find_page(loops["fraud"]) == "https://loop.example.org"
