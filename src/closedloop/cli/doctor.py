"""`closedloop doctor`: what is wrong with an installation, a use case, or a loop that stopped
turning."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from closedloop.bundle.skops_model import SELF_TEST_TOLERANCE
from closedloop.errors import ClosedLoopError
from closedloop.settings import Settings
from closedloop.storage.revisions import plan_upgrade
from closedloop.turn.open import Loop, open_loop
from closedloop.windows.contract_check import check_contract, prepare

# Newer ones install, and then fail in silence: see pyproject.toml.
CAPS = {"prefect": "3.9", "pandas": "3.1", "fastapi": "0.151", "sqlalchemy": "2.1"}
ENOUGH_DISK_GB = 2.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found, and what to do when it is not well."""

    check: str
    ok: bool
    found: str
    then: str = ""


def examine(use_case: Path | None) -> tuple[Finding, ...]:
    """Look at everything; a part that depends on a broken one is left out."""
    settings = Settings()
    findings = [_python(), *_packages(), _disk(settings)]
    opened: list[Loop] = []

    def read_use_case() -> str:
        opened.append(open_loop(use_case, settings=settings))
        return f"{opened[0].use_case.path}: {len(opened[0].use_case.columns)} features"

    findings.append(_try("use case", read_use_case))
    if opened:
        loop = opened[0]
        findings += [
            _try("newest window", lambda: _newest_window(loop)),
            _try("tables", lambda: _tables(loop)),
            _try("journal", lambda: _journal(loop)),
            _try("MLflow", lambda: _registry(loop)),
        ]
        if findings[-1].ok:
            findings.append(_try("production", lambda: _production(loop)))
    return tuple(findings)


def _try(check: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(check, True, look())
    except ClosedLoopError as error:
        # Sending the reader of these lines to the doctor would send them round in a circle.
        then = re.sub(r"(:|,? and run:|,? run:)? closedloop doctor$", "", error.then)
        return Finding(check, False, f"{error.where}: wanted {error.wanted}, got {error.got}", then)
    except Exception as error:  # one thing that is broken must not hide the others
        return Finding(
            check,
            False,
            f"{type(error).__name__}: {error}",
            "set CLOSEDLOOP_DEBUG=1 and run the command that fails",
        )


def _python() -> Finding:
    found = sys.version.split()[0]
    return Finding(
        "Python",
        (3, 11) <= sys.version_info[:2] <= (3, 13),
        found,
        "use Python 3.11 to 3.13: make install PYTHON=python3.12",
    )


def _packages() -> list[Finding]:
    findings = []
    for name, cap in CAPS.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            findings.append(Finding(name, False, "not installed", "make install"))
            continue
        ok = tuple(int(part) for part in found.split(".")[:2]) < tuple(
            int(part) for part in cap.split(".")
        )
        findings.append(Finding(name, ok, found, f"a version below {cap} is needed: make install"))
    return findings


def _disk(settings: Settings) -> Finding:
    folder = next(
        one for one in (settings.home_folder, *settings.home_folder.parents) if one.exists()
    )
    free = shutil.disk_usage(folder).free / 1e9
    return Finding(
        "disk",
        free > ENOUGH_DISK_GB,
        f"{free:.1f} GB free",
        f"reports and models under {settings.home_folder} grow with every turn: closedloop prune --dry-run shows what can go",
    )


def _newest_window(loop: Loop) -> str:
    names = loop.source.windows()
    raw = loop.source.read(names[-1])
    violations = check_contract(raw, prepare(raw, loop.use_case), loop.use_case, None)
    if violations:
        raise ClosedLoopError(
            where=f"window {names[-1]}",
            wanted="a window that keeps the contract",
            got="; ".join(map(str, violations)),
            then="mend the data or the [columns] of loop.toml",
        )
    return f"{names[-1]} of {len(names)} ({names[0]} first), {len(raw)} rows, keeps the contract"


def _tables(loop: Loop) -> str:
    found = plan_upgrade(loop.engine, asked=False)
    if not found.needed:
        return f"revision {found.after}, the newest"
    return f"{'none yet' if found.before is None else f'revision {found.before}'}: revision {found.after} comes with the first use"


def _journal(loop: Loop) -> str:
    entries = loop.journal.history(loop.use_case.name)
    undone = [
        str(one.id)
        for one in entries
        if one.outcome is None and one.decision.action.value in ("promote", "rollback", "retrain")
    ]
    if undone:
        raise ClosedLoopError(
            where="journal",
            wanted="every decision carried out",
            got=f"decision {', '.join(undone)} open",
            then="run the command again that was interrupted: closedloop monitor",
        )
    return f"{len(entries)} decisions at {loop.engine.url.render_as_string(hide_password=True)}"


def _registry(loop: Loop) -> str:
    loop.registry.ping()
    return f"{loop.registry.tracking_uri}: {len(loop.registry.versions())} versions"


def _production(loop: Loop) -> str:
    live = loop.registry.production()
    if live is None:
        return "none yet: closedloop monitor"
    bundle = loop.registry.load(live)
    if (difference := bundle.measure_self_test()) > SELF_TEST_TOLERANCE:
        raise ClosedLoopError(
            where=f"version {live}",
            wanted="the answers of the fitted model",
            got=f"a difference of {difference:.2g}",
            then="train again here: closedloop train",
        )
    moved = [
        one
        for one in loop.journal.history(loop.use_case.name)
        if one.outcome == "done" and one.decision.action.value in ("promote", "rollback")
    ]
    if not moved or moved[-1].decision.version != live:
        said = f"version {moved[-1].decision.version}" if moved else "nothing"
        raise ClosedLoopError(
            where="production",
            wanted=f"what the journal says is live: {said}",
            got=f"version {live}",
            then="somebody moved the alias outside of closedloop: closedloop promote N makes it a decision",
        )
    return f"version {live} loads and answers as fitted"
