"""What `closedloop live` reads, and how it looks in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from rich.console import Console

from closedloop.cli.plain_text import plain
from closedloop.storage.entry import Entry
from closedloop.turn.live_at import LiveAt, live_at, name_decider, read_moment
from closedloop.turn.open import Loop
from closedloop.turn.prediction_origin import PredictionOrigin, Training, find_origin
from closedloop.views.words import brief_reason

_SHOWN = 8


def find_live(loop: Loop, text: str | None) -> LiveAt:
    """What was live at a moment, now without one; raises UseCaseError for another text."""
    now = datetime.now(UTC)
    moment = now if text is None else read_moment(text, now)
    return live_at(loop.journal, loop.use_case.name, moment)


def find_prediction(loop: Loop, id: str) -> tuple[PredictionOrigin, str | None]:
    """Where a prediction came from, and the page of the run that trained its version."""

    def read_tags(version: int) -> tuple[Mapping[str, str], str]:
        return loop.registry.tags(version), loop.registry.version(version).run_id

    found = find_origin(loop.journal, loop.records, loop.use_case.name, id, read_tags)
    run = None if found.training is None else found.training.run
    return found, None if run is None else loop.registry.run_link(run, loop.mlflow_ui)


def show_live(console: Console, found: LiveAt) -> None:
    """Print the version, the decisions around it, and what services noted."""
    version = "nothing" if found.version is None else f"version {found.version}"
    lines = [f"[bold]{version}[/bold] was live at {_moment(found.at)}"]
    if found.began is None:
        lines.append("no promotion had been carried out by then")
    elif found.since is not None:
        lines.append(f"since {_moment(found.since)}, by {_decision(found.began)}")
    if found.answered_since is not None:
        lines.append(f"a service answered with it from {_moment(found.answered_since)} on")
    elif found.version is not None:
        lines.append("no service had noted by then that it answers with it")
    others = sorted({note.version or 0 for note in found.answered} - {found.version})
    if others:
        named = ", ".join(map(str, others))
        lines.append(f"a service began to answer with version {named} meanwhile")
    if found.begun is not None:
        lines.append(f"[yellow]not carried out by then[/yellow]: {_decision(found.begun)}")
    if found.outside is not None:
        lines.append(f"[bold red]moved outside[/bold red]: {_decision(found.outside)}")
    if found.ended is not None and found.until is not None:
        lines.append(f"until {_moment(found.until)}, ended by {_decision(found.ended)}")
    elif found.began is not None:
        lines.append("it still is, by the journal")
    for line in lines:
        console.print(line, highlight=False)


def show_prediction(console: Console, found: PredictionOrigin, link: str | None) -> None:
    """Print the version of a prediction, who made it live, and what it was made of."""
    lines = [
        f"prediction {plain(found.id)}: [bold]version {found.version}[/bold], answered at "
        f"{_moment(found.at)}",
        "no decision in the journal made it live"
        if found.decision is None
        else f"made live by {_decision(found.decision)}",
    ]
    if found.differs:
        live = "nothing" if found.live.version is None else f"version {found.live.version}"
        lines.append(f"[yellow]by the journal {live} was live then[/yellow]")
    if found.training is None:
        lines.append(f"[yellow]what it was made of is unknown[/yellow]: {plain(found.unknown)}")
    else:
        lines += [f"{name}: {plain(told)}" for name, told in _tell(found.training).items() if told]
    for line in lines:
        console.print(line, highlight=False)
    if link is not None:
        console.print(f"MLflow run: {plain(link)}", soft_wrap=True, highlight=False)


def _tell(training: Training) -> dict[str, str]:
    windows = [f"{name} {digest}" for name, digest in (training.windows or {}).items()]
    left = len(windows) - _SHOWN
    rows = ", ".join(windows[-_SHOWN:]) + (f", and {left} before" if left > 0 else "")
    return {
        "recipe": training.recipe or "unknown",
        "trained for": f"{training.window or 'unknown'}, through "
        f"{training.trained_through or 'unknown'}",
        "rows (window and sha256)": rows or "unknown",
        "code": f"closedloop {training.closedloop or 'unknown'}, commit "
        f"{training.revision or 'unknown'}",
        "own code (sha256)": training.own_code or "",
        "loop.toml": f"fingerprint {training.contract or 'unknown'}, seed "
        f"{training.seed or 'unknown'}",
        "files (sha256)": training.files or "unknown",
    }


def _decision(entry: Entry) -> str:
    decision = entry.decision
    about = "nothing" if decision.version is None else f"version {decision.version}"
    return plain(
        f"decision {entry.id} ({decision.action.value} {about}, by {name_decider(entry)}, "
        f"for {decision.window}): {brief_reason(decision)}"
    )


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
