"""`closedloop status` of several use cases: one line each, whatever became of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from closedloop.cli.plain_text import plain
from closedloop.decisions.checks import Kind
from closedloop.errors import ClosedLoopError, UseCaseError
from closedloop.registry.versions import PRODUCTION
from closedloop.turn.open import Loop
from closedloop.views.waiting import find_waiting_for_a_person

# Decisions about a window; the others tell what somebody did, or what is served.
_OF_WINDOWS = (Kind.RETRAINING, Kind.PROMOTION, Kind.ROLLBACK, Kind.QUARANTINE)


def read_statuses(
    paths: Iterable[Path], open_named: Callable[[Path], Loop]
) -> list[dict[str, Any]]:
    """The output of `closedloop status --json` for several use cases, in their order.

    One that cannot be read has the reason as `error`, and the exit code of its kind; never raises.
    """
    found: list[dict[str, Any]] = []
    names: dict[str, Path] = {}
    for path in paths:
        try:
            loop = open_named(path)
            name, file = loop.use_case.name, loop.use_case.path
            if names.setdefault(name, file) != file:
                raise UseCaseError(
                    where="CLOSEDLOOP_USE_CASES",
                    wanted="use cases with different names",
                    got=f"{name} in {names[name]} and in {file}",
                    then="rename one of them",
                )
            found.append(_read_one(loop))
        except Exception as error:  # of a library, too: it must not hide the others
            ours = isinstance(error, ClosedLoopError)
            found.append(
                {
                    "use_case": _name_of(path),
                    "path": str(path),
                    "error": str(error) if ours else f"{type(error).__name__}: {error}",
                    "exit_code": error.exit_code if isinstance(error, ClosedLoopError) else 1,
                }
            )
    return found


def exit_code_of(statuses: Iterable[dict[str, Any]]) -> int:
    """0, or that of the first use case that could not be read."""
    return next((int(facts["exit_code"]) for facts in statuses if "error" in facts), 0)


def tell_status(facts: dict[str, Any]) -> str:
    """One line for people."""
    if "error" in facts:
        return plain(" ".join(f"{facts['use_case'] or facts['path']}: {facts['error']}".split()))
    parts = ["no production model yet: closedloop monitor"]
    if facts["production"] is not None:
        known = [facts["recipe"] or ""]
        if facts["val_auc"] is not None:
            known.append(f"val_auc {facts['val_auc']:.4f}")
        parts = [f"production is version {facts['production']} ({', '.join(filter(None, known))})"]
    if decided := facts["last_decision"]:
        parts.append(f"{decided['window']}: {decided['action']} (decision {decided['id']})")
    if waiting := facts["waiting"]:
        parts.append(f"waits for a person: {', '.join(thing['title'] for thing in waiting)}")
    return plain(f"{facts['use_case']}: {'; '.join(parts)}")


def _read_one(loop: Loop) -> dict[str, Any]:
    name = loop.use_case.name
    entries, versions = loop.journal.history(name), loop.registry.versions()
    live = next((version for version in versions if PRODUCTION in version.aliases), None)
    decided = next(
        (entry for entry in reversed(entries) if entry.decision.kind in _OF_WINDOWS), None
    )
    faults = loop.journal.read_chain(name).faults
    return {
        "use_case": name,
        "path": str(loop.use_case.path),
        "production": None if live is None else live.version,
        "recipe": None if live is None else live.recipe,
        "val_auc": None if live is None else live.val_auc,
        "last_decision": None
        if decided is None
        else {
            "id": decided.id,
            "window": decided.decision.window,
            "action": decided.decision.action.value,
        },
        "waiting": [
            {"title": thing.title, "why": thing.why, "then": thing.then, "decision": thing.decision}
            for thing in find_waiting_for_a_person(entries, versions, faults=faults)
        ],
    }


def _name_of(path: Path) -> str | None:
    """The name in a loop.toml, if that can be read."""
    from closedloop.use_case.loop_toml import load_use_case

    try:
        return load_use_case(path).name
    except Exception:
        return None
