"""`closedloop shadow`: what a candidate answered beside production."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from closedloop.cli.options import AsJson, UseCasePath
from closedloop.cli.session import Session
from closedloop.errors import ModelError, RegistryError, UseCaseError

if TYPE_CHECKING:
    from closedloop.shadow.live_comparison import LiveComparison
    from closedloop.turn.open import Loop

_EPILOG = "Example: closedloop shadow --version 4"


def add(app: typer.Typer, session: Session) -> None:
    """Add the command."""

    @app.command(epilog=_EPILOG)
    def shadow(
        version: Annotated[
            int | None,
            typer.Option(
                "--version", min=1, help="The version to look at.", show_default="the newest"
            ),
        ] = None,
        use_case: UseCasePath = None,
        as_json: AsJson = False,
    ) -> None:
        """Show what a candidate answered beside production, and how it did where labels came."""
        loop = session.open_loop(use_case)
        from closedloop.cli.shadow_view import show_shadow

        found = read_shadow(loop, version)
        session.show(as_json, describe(found), lambda: show_shadow(session.console, found, loop))


def read_shadow(loop: Loop, version: int | None) -> LiveComparison:
    """The comparison of a version, or of the newest; raises UseCaseError where there is none."""
    from closedloop.records.shadow import ShadowRecords
    from closedloop.shadow.live_comparison import compare_live

    records, name = ShadowRecords(loop.engine), loop.use_case.name
    versions = records.read_versions(name)
    if not versions or (version is not None and version not in versions):
        known = ", ".join(map(str, versions)) or "none"
        raise UseCaseError(
            where="closedloop shadow",
            wanted="a version that has answered in the shadow"
            if version is None
            else f"answers of version {version}",
            got=f"versions with such answers: {known}",
            then="set shadow = true under [serving] in loop.toml, and start the API again"
            if not versions
            else "choose one of these",
        )
    chosen = version or max(versions)
    return compare_live(
        chosen,
        records.read_twice(name, chosen),
        loop.use_case,
        lambda number: _find_threshold(loop, number),
    )


def _find_threshold(loop: Loop, version: int) -> float | None:
    """What a version answers with; None also where its files are gone."""
    from closedloop.bundle.files import read_facts

    try:
        return read_facts(loop.registry.download(version)).threshold
    except (ModelError, RegistryError):
        return None


def describe(found: LiveComparison) -> dict[str, Any]:
    """The output of `closedloop shadow --json`."""
    agreement = 1 - found.flips / found.compared if found.compared else None
    return {**asdict(found), "production": list(found.production), "agreement": agreement}
