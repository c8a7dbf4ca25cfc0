"""`closedloop why`: every check behind a decision."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from closedloop.cli.options import AsJson, UseCasePath
from closedloop.cli.session import Session
from closedloop.decisions.checks import Kind
from closedloop.errors import RegistryError, StoreError, UseCaseError

if TYPE_CHECKING:
    from closedloop.decisions.evidence import Comparison
    from closedloop.metrics.importance import Importance
    from closedloop.storage.entry import Entry
    from closedloop.turn.open import Loop


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog="Example: closedloop why 7")
    def why(
        decision: Annotated[
            int,
            typer.Argument(
                help="The id of a decision, from: closedloop history", metavar="DECISION"
            ),
        ],
        use_case: UseCasePath = None,
        as_json: AsJson = False,
    ) -> None:
        """Show every check behind a decision, and its outcome."""
        loop = session.open_loop(use_case)
        from closedloop.cli.decision_view import (
            show_decision,
            show_importance,
            show_scores,
            tell_report,
        )
        from closedloop.turn.corrected_labels import count_corrections, tell_corrections

        entry = loop.journal.entry(decision)
        _refuse_another(loop, entry)
        corrected = count_corrections(loop, (entry,)).get(entry.id, 0)

        def show() -> None:
            report = tell_report(loop, entry, let_in=True)
            show_decision(session.console, entry, report=report, every_check=True)
            if corrected:
                session.console.print(tell_corrections(corrected), highlight=False)
            if told := _tell_shadow(loop, entry):
                session.console.print(told, highlight=False)
            comparison, importance = _find_measured(loop, entry)
            if comparison is not None:
                confidence = loop.use_case.policy.promotion.confidence
                show_scores(session.console, comparison, confidence)
            if importance is not None:
                show_importance(session.console, importance)

        facts = {**entry.as_json(), "labels_corrected_since": corrected}
        session.show(as_json, facts, show)


def _find_measured(loop: Loop, entry: Entry) -> tuple[Comparison | None, Importance | None]:
    """The scores of the version that was judged and what it needs, where they are to be had.

    Older versions have no importance, and an MLflow that is away says nothing.
    """
    from closedloop.turn.register import (
        EVIDENCE_FILE,
        IMPORTANCE_FILE,
        read_evidence,
        read_importance,
    )

    decision, registry = entry.decision, loop.registry
    if decision.version is None or decision.kind is not Kind.PROMOTION:
        return None, None
    comparison = importance = None
    with suppress(RegistryError, ValueError, KeyError):
        run = registry.version(decision.version).run_id
        files = registry.read_run_files(run, (EVIDENCE_FILE, IMPORTANCE_FILE))
        comparison = read_evidence(files[EVIDENCE_FILE]).comparison
        importance = read_importance(files[IMPORTANCE_FILE])
    return comparison, importance


def _tell_shadow(loop: Loop, entry: Entry) -> str | None:
    """The command that shows what a candidate answered in the shadow, if it was asked anything."""
    from closedloop.records.shadow import ShadowRecords

    decision = entry.decision
    if decision.kind is not Kind.PROMOTION or decision.version is None:
        return None
    with suppress(StoreError):
        if decision.version in ShadowRecords(loop.engine).read_versions(entry.use_case):
            return f"beside production it answered: closedloop shadow --version {decision.version}"
    return None


def _refuse_another(loop: Loop, entry: Entry) -> None:
    """Raise UseCaseError for a decision of another use case, with the --use-case to give."""
    if entry.use_case == loop.use_case.name:
        return
    path = _find_use_case(entry.use_case, loop)
    raise UseCaseError(
        where=f"decision {entry.id}",
        wanted=f"a decision of {loop.use_case.name}",
        got=f"one of {entry.use_case}",
        then=f"closedloop why {entry.id} --use-case "
        + (quote(str(path)) if path else f"LOOP_TOML, with the loop.toml of {entry.use_case}"),
    )


def _find_use_case(name: str, loop: Loop) -> Path | None:
    """The loop.toml with this name, among those of the settings and beside the one asked for.

    The journal knows names only.
    """
    from closedloop.use_case.loop_toml import load_use_case

    asked = loop.use_case.path
    beside = (*asked.parent.glob("*.toml"), *asked.parent.parent.glob("*/loop.toml"))
    for path in (*loop.settings.named_use_cases, *sorted(beside)):
        with suppress(UseCaseError, OSError):
            if (found := load_use_case(path)).name == name:
                return found.path
    return None
