"""Who may import whom. Arrows point down: entrances -> api, flows -> composition -> hands, senses -> brain."""

from __future__ import annotations

import sys

import pytest

from tests.house.tree import Module, imports, modules

# Every module of src/closedloop stands in exactly one list.
ROOMS = {
    # standard library only, pure
    "brain": {"evidence", "policy", "checks", "decisions"},
    # frames in, facts out
    "senses": {
        "schema",
        "values",
        "windows",
        "drift",
        "scoring",
        "training",
        "packaging",
        "synthetic",
        "inspection",
        "plots",
        "bundle",
        "trees",
        "converting",
        "served",
        "proving",
        "estimating",
        "faults",
        "measures",
    },
    # the world, without judgement
    "hands": {
        "use_case",
        "schedule",
        "sources",
        "tables",
        "records",
        "record_tables",
        "record_windows",
        "answered_request",
        "answer_writer",
        "quick_writer",
        "labels",
        "forgetting",
        "recorder",
        "journal",
        "revisions",
        "migrating",
        "migrations",
        "registry",
        "registry_copy",
        "tracking",
        "journal_copy",
        "records_copy",
        "settings",
        "api_keys",
        "database",
        "lock",
        "attached",
        "fetching",
        "production",
        "production_server",
        "production_tables",
        "kept",
    },
    # puts senses and hands together, for flows, api and the command line
    "composition": {
        "loop",
        "actions",
        "announcing",
        "candidates",
        "computing",
        "parts",
        "gathering",
        "judging",
        "probation",
        "pruning",
        "fitting",
        "proposing",
        "turning",
        "unlabelled",
        "memo",
        "memory_registry",
        "replaying",
        "strategies",
        "fault_replaying",
        "backtest",
        "moving",
    },
    # where a program starts; modules named cli_* belong here too
    "entrances": {"cli", "__main__"},
    # imports nothing of ours, may be imported by all
    "ground": {"__init__", "errors", "timings"},
}
MAY_IMPORT = {
    "ground": {"ground"},
    "brain": {"ground", "brain"},
    "senses": {"ground", "brain", "senses"},
    "hands": {"ground", "brain", "hands"},
    "composition": {"ground", "brain", "senses", "hands", "composition"},
    "flows": {"ground", "brain", "senses", "hands", "composition", "flows"},
    "api": {"ground", "brain", "senses", "hands", "composition", "api"},
    "entrances": {"ground", "brain", "senses", "hands", "composition", "flows", "api", "entrances"},
}
# Single imports against the rule, each with what it is for.
EXCEPTIONS = {
    ("schema", "use_case"): "a frame is checked against the columns that a use case declares",
    ("values", "use_case"): "a category is spelled as a use case lists it, and null has the one name that use cases give it",
    ("scoring", "use_case"): "slices and golden cases are declared in a use case",
    ("packaging", "use_case"): "a bundle carries the use case that it was fitted under",
    ("served", "use_case"): "a model is asked under the contract that it was fitted under",
    ("proving", "use_case"): "the columns that a model is tried on are those of its contract",
    ("registry", "packaging"): "a version is handed out as the bundle that it is",
    ("fetching", "bundle"): "the digest of what is fetched is held against the one that was registered",
    ("production", "bundle"): "the last good version is remembered with the digest of its files",
    ("tracking", "bundle"): "the digest of a bundle is noted with the run that holds it",
}
# One library, one door: the only modules that may import it.
DOORS = {
    "evidently": {"drift"},
    "duckdb": {"sources"},
    "pyarrow": {"tables"},
    "lightgbm": {"training"},
    "mlflow": {"registry", "registry_copy", "tracking"},
    "skops": {"packaging"},
    "onnx": {"converting"},
    "onnxruntime": {"served"},
    "matplotlib": {"plots"},
    "alembic": {"migrating"},
    "prefect": {"flows"},
    "fastapi": {"api"},
    "starlette": {"api"},
    "prometheus_client": {"api"},
    "typer": {"entrances"},
    "rich": {"entrances"},
    "sqlalchemy": {
        "database",
        "journal",
        "journal_copy",
        "records",
        "records_copy",
        "record_tables",
        "revisions",
        "migrating",
        "migrations",
        "answer_writer",
        "quick_writer",
        "labels",
        "forgetting",
        "sources",
        "lock",
        "loop",
        "production",
        "production_tables",
    },
}


def room_of(module: Module) -> str:
    """The list that a module stands in; flows and api are rooms of their own. An AssertionError says what to do with a new one."""
    if module.package != "closedloop":
        return module.package
    name = module.room.split(".")[0]
    if name.startswith("cli_"):
        return "entrances"
    found = [room for room, names in ROOMS.items() if name in names]
    assert found, (
        f"src/closedloop/{name}.py stands in no room: add it to one list of ROOMS in tests/house/test_arrows.py (brain, senses, hands, "
        f"composition, entrances or ground), by what it does, or name it cli_* if it belongs to the command line"
    )
    assert len(found) == 1, f"{name} stands in {found}: keep it in one list of ROOMS"
    return found[0]


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_arrows_point_down(module: Module) -> None:
    """A module imports only what its room may, so that a decision can be read without the world it is taken in."""
    by_name = {one.name: one for one in modules()}
    room = room_of(module)
    for name in sorted(imports(module) & set(by_name)):
        other = by_name[name]
        if (module.room, other.room) not in EXCEPTIONS:
            assert room_of(other) in MAY_IMPORT[room], f"{module.name} ({room}) may not import {name} ({room_of(other)})"


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_one_library_one_door(module: Module) -> None:
    """A library with a door is imported behind that door only, so that replacing it changes one file."""
    at = {module.room, module.room.split(".")[0], room_of(module)}
    for name in sorted({name.split(".")[0] for name in imports(module)}):
        assert name not in DOORS or at & DOORS[name], f"{module.name} imports {name}: only {sorted(DOORS[name])} may"


@pytest.mark.parametrize("module", [one for one in modules() if room_of(one) == "brain"], ids=lambda module: module.name)
def test_the_brain_needs_no_library_no_clock_and_no_chance(module: Module) -> None:
    """Decisions use the standard library only, and of it nothing that makes two runs differ or touches the world."""
    outside = {name.split(".")[0] for name in imports(module)} - set(sys.stdlib_module_names) - {"closedloop"}
    assert not outside
    touching = {"random", "time", "datetime", "os", "pathlib", "io", "socket", "subprocess", "secrets", "uuid", "threading", "logging"}
    assert not {name.split(".")[0] for name in imports(module)} & touching


def test_every_room_and_door_that_is_named_exists() -> None:
    """The lists above name no module that is gone and no exception that nothing needs."""
    rooms = {one.room for one in modules() if one.package == "closedloop"}
    assert set().union(*ROOMS.values()) <= rooms
    used = {(one.room, name.partition(".")[2]) for one in modules() if one.package == "closedloop" for name in imports(one)}
    assert set(EXCEPTIONS) <= used
