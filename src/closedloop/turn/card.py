"""The model card of a version, made anew from what its run and the journal hold.

So it can be written again after a crash, and read long after the model's files were pruned.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from closedloop.decisions.checks import Action, Kind
from closedloop.errors import ClosedLoopError, ModelError, UseCaseError
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn import card_sections as told
from closedloop.turn.card_facts import CARD_FACTS_FILE, TrainingFacts, read_training_facts
from closedloop.turn.card_page import Page, Section, write_html, write_markdown
from closedloop.turn.carry_out import carry_out
from closedloop.turn.moved_aliases import MOVES
from closedloop.turn.open import Loop
from closedloop.turn.register import EVIDENCE_FILE, IMPORTANCE_FILE, read_evidence, read_importance
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case

_LOG = logging.getLogger("closedloop.turn.card")

MARKDOWN_CARD, HTML_CARD = "card.md", "card.html"
T = TypeVar("T")


def read_card(loop: Loop, version: int) -> Page:
    """The card of a version, with every decision about it so far.

    Raises RegistryError when there is no such version, ModelError for a damaged file of its run.
    What an older release did not keep is told as unknown.
    """
    known = loop.registry.version(version)
    names = (CARD_FACTS_FILE, EVIDENCE_FILE, IMPORTANCE_FILE)
    files = loop.registry.read_run_files(known.run_id, names)
    facts = _read(files, CARD_FACTS_FILE, version, read_training_facts)
    evidence = _read(files, EVIDENCE_FILE, version, read_evidence)
    importance = _read(files, IMPORTANCE_FILE, version, read_importance)
    use_case = None if facts is None else _parse(facts, version)
    entries = loop.journal.history(loop.use_case.name)
    judged = [
        entry
        for entry in entries
        if entry.decision.kind is Kind.PROMOTION and entry.decision.version == version
    ]
    causes = {entry.cause for entry in judged}
    comparison = None if evidence is None else evidence.comparison
    return Page(
        f"{loop.use_case.name}, version {version}",
        (
            told.tell_use(loop.use_case),
            *map(told.tell_decision, judged),
            *([] if judged else [Section("Decision", ("not decided yet",))]),
            *_tell_later(entries, version),
            told.tell_data(facts, evidence),
            told.tell_drift([entry for entry in entries if entry.id in causes], use_case),
            told.tell_contract(use_case),
            told.tell_recipe(known, facts, use_case),
            *told.tell_scores(comparison, use_case),
            told.tell_slices(comparison),
            told.tell_needed(importance),
            told.tell_service(evidence),
            told.tell_origin(known, facts),
        ),
    )


def carry_out_with_card(loop: Loop, entry: Entry) -> Entry:
    """As `carry_out`; a version has its card before `production` moves to it.

    Repeated after a crash, it writes the same card again. A person who promotes a version is not
    held up when its card cannot be written.
    """
    _keep_card(loop, entry)
    done = carry_out(loop, entry)
    if done.outcome == "superseded":
        _keep_card(loop, done)
    return done


def _keep_card(loop: Loop, entry: Entry) -> None:
    """Write the card of the version that was judged into its run."""
    version = entry.decision.version
    if entry.decision.kind is not Kind.PROMOTION or version is None:
        return
    try:
        card = read_card(loop, version)
        loop.registry.put_files(
            loop.registry.version(version).run_id,
            {MARKDOWN_CARD: write_markdown(card), HTML_CARD: write_html(card)},
        )
    except ClosedLoopError as error:
        if entry.origin is not Origin.PERSON:
            raise
        _LOG.warning("version %d gets no new card: %s", version, error)


def _tell_later(entries: Iterable[Entry], version: int) -> list[Section]:
    """The moves that took a version out of production, or back into it."""
    lines = [
        f"decision {entry.id} ({entry.at:%Y-%m-%d}): {entry.decision.action.value}, "
        f"from version {entry.production} to version {entry.decision.version}: "
        f"{entry.decision.reason}"
        for entry in entries
        if entry.decision.action in MOVES
        and entry.outcome == "done"
        and (
            entry.production == version != entry.decision.version
            or (entry.decision.action is Action.ROLLBACK and entry.decision.version == version)
        )
    ]
    return [Section("Later moves", tuple(lines))] if lines else []


def _read(files: Mapping[str, str], name: str, version: int, read: Callable[[str], T]) -> T | None:
    """The content of a file of the run; None where the release that wrote it had no such file."""
    if name not in files:
        return None
    try:
        return read(files[name])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            where=f"{name} of version {version}",
            wanted="what closedloop wrote there",
            got=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            then="somebody changed it: restore MLflow's files from a backup",
        ) from error


def _parse(facts: TrainingFacts, version: int) -> UseCase | None:
    """The use case as the version knew it; None where its loop.toml is not read any more."""
    try:
        return parse_use_case(facts.use_case, Path(f"loop.toml of version {version}"))
    except UseCaseError:
        return None
