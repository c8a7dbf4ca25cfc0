"""What `closedloop doctor` checks: the installation, the use case, the journal, the registry."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from closedloop.bundle.installed import find_version
from closedloop.cli.examine.agreement import (
    describe_aliases,
    describe_journal,
    describe_production,
    describe_registry,
)
from closedloop.cli.examine.columns import describe_columns
from closedloop.cli.examine.databases import describe_databases
from closedloop.cli.examine.files import describe_model_files
from closedloop.cli.examine.gates import describe_gates
from closedloop.cli.examine.home import describe_home
from closedloop.cli.examine.labels import describe_labels
from closedloop.cli.examine.leaks import describe_single_columns
from closedloop.cli.examine.recorded import describe_archive, describe_recorded
from closedloop.cli.examine.serving import describe_serving
from closedloop.cli.examine.times import describe_past_windows, tell_left_out
from closedloop.cli.examine.windows import window_checks
from closedloop.cli.plain_text import plain
from closedloop.errors import ClosedLoopError
from closedloop.operations.alerts.overview import describe_alerts
from closedloop.settings import Settings
from closedloop.storage.revisions import plan_upgrade
from closedloop.turn.open import Loop, open_loop
from closedloop.windows.order import columns_not_yet
from closedloop.windows.time_names import find_time_order
from flows.prefect_client.standstill import find_standstill

# Newer versions install but fail silently: see pyproject.toml.
CAPS = {"prefect": "3.9", "pandas": "3.1", "fastapi": "0.151", "sqlalchemy": "2.1"}
ENOUGH_DISK_GB = 2.0


@dataclass(frozen=True)
class Finding:
    """One check: what was found, and what to do if it is not ok."""

    check: str
    ok: bool
    found: str
    then: str = ""


def examine(
    settings: Settings, use_case: Path | None, environment: Mapping[str, str]
) -> tuple[Finding, ...]:
    """Check everything, except what depends on something broken.

    The schedule is checked where `environment` names a Prefect server or `closedloop up` runs.
    """
    home = settings.home_folder
    findings = [
        _python(),
        *_packages(),
        _disk(settings),
        _try("home", lambda: describe_home(home)),
        _try("files", lambda: describe_databases(settings)),
    ]
    opened: list[Loop] = []

    def read_use_case() -> str:
        opened.append(open_loop(use_case, settings=settings))
        return f"{opened[0].use_case.path}: {len(opened[0].use_case.columns)} features"

    findings.append(_try("use case", read_use_case))
    if opened:
        loop = opened[0]
        findings += [
            _try("newest window", lambda: _newest_window(loop)),
            *(_try(check, look) for check, look in window_checks(loop)),
            _try("single columns", lambda: describe_single_columns(loop)),
            _try("labels", lambda: describe_labels(loop)),
            _try("columns", lambda: describe_columns(loop)),
            _try("minimums", lambda: describe_gates(loop)),
            _try("tables", lambda: _tables(loop)),
            _try("records", lambda: describe_recorded(loop)),
            *([_try("archive", lambda: describe_archive(loop))] if settings.archive else []),
            _try("past windows", lambda: describe_past_windows(loop)),
            _try("journal", lambda: describe_journal(loop)),
            _try("alerts", lambda: describe_alerts(loop)),
            _try("MLflow", lambda: describe_registry(loop)),
        ]
        standstill = find_standstill(loop.use_case.name, settings.home_folder, environment)
        if standstill is not None:
            findings.insert(-1, _schedule(standstill))
        if findings[-1].ok:
            findings.append(_try("aliases", lambda: describe_aliases(loop)))
            findings.append(_try("production", lambda: describe_production(loop)))
            findings.append(_try("serving", lambda: describe_serving(loop)))
            findings.append(_try("model files", lambda: describe_model_files(loop)))
    return tuple(findings)


def _try(check: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(check, True, look())
    except ClosedLoopError as error:
        # The reader of these lines is already running the doctor.
        then = re.sub(r"(:|,? and run:|,? run:)? closedloop doctor$", "", error.then)
        return Finding(check, False, f"{error.where}: wanted {error.wanted}, got {error.got}", then)
    except Exception as error:  # one broken part must not hide the others
        return Finding(
            check,
            False,
            f"{type(error).__name__}: {error}",
            "set CLOSEDLOOP_DEBUG=1 and run the failing command again",
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
        if (found := find_version(name)) is None:
            findings.append(Finding(name, False, "not installed", "make install"))
            continue
        ok = tuple(int(part) for part in found.split(".")[:2]) < tuple(
            int(part) for part in cap.split(".")
        )
        findings.append(
            Finding(name, ok, found, f"closedloop needs a version below {cap}: make install")
        )
    return findings


def _disk(settings: Settings) -> Finding:
    folder = next(
        folder
        for folder in (settings.home_folder, *settings.home_folder.parents)
        if folder.exists()
    )
    free = shutil.disk_usage(folder).free / 1e9
    return Finding(
        "disk",
        free > ENOUGH_DISK_GB,
        f"{free:.1f} GB free",
        f"every turn adds reports and models under {settings.home_folder}; see what can be "
        "deleted: closedloop prune --dry-run",
    )


def _newest_window(loop: Loop) -> str:
    names = loop.source.windows()
    use_case, index = loop.use_case, len(names) - 1
    not_yet = columns_not_yet(use_case.columns, names, names[-1])
    read = loop.compute.read_window(loop.source, names[-1], index, use_case, None, not_yet)
    if read.violations:
        raise ClosedLoopError(
            where=f"window {names[-1]}",
            wanted="rows that keep the contract",
            got="; ".join(map(str, read.violations)),
            then="correct the data, or [columns] in loop.toml",
        )
    return (
        f"{names[-1]}, {read.facts.rows} rows, keeps the contract ({len(names)} windows since "
        f"{names[0]}, in the order of their {find_time_order(names).reading}){tell_left_out(loop)}"
    )


def _tables(loop: Loop) -> str:
    found = plan_upgrade(loop.engine, requested=False)
    if not found.needed:
        return f"revision {found.after}, the newest"
    if found.before is None:
        return f"none yet: the next command creates them at revision {found.after}"
    return f"revision {found.before}: the next command upgrades them to {found.after}"


def _schedule(standstill: tuple[str, ...]) -> Finding:
    return Finding(
        "schedule",
        not standstill,
        "; ".join(standstill) or "runs in Prefect",
        "resume it on Prefect's page, and look there for an automation that pauses it",
    )


def show_findings(console: Console, findings: tuple[Finding, ...]) -> None:
    """Print a line per check, and for each that failed what to do."""
    for finding in findings:
        sign = "[green]ok  [/green]" if finding.ok else "[red]FAIL[/red]"
        then = "" if finding.ok or not finding.then else f" -> {plain(finding.then)}"
        console.print(
            f"{sign} {plain(finding.check)}: {plain(finding.found)}{then}",
            soft_wrap=True,
            highlight=False,
        )
