"""The shadow of the API with its real parts."""

from __future__ import annotations

from closedloop.records.shadow import ShadowRecords
from closedloop.registry.live import ProductionReader
from closedloop.settings import Settings
from closedloop.shadow.live import LiveShadow
from closedloop.shadow.process import AnsweringProcess
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.turn.waiting_candidate import WaitingCandidate
from closedloop.use_case.contract import UseCase


def open_shadow(use_case: UseCase, settings: Settings) -> LiveShadow | None:
    """What asks the candidate that waits; None where loop.toml wants no shadow.

    It shares nothing with production: connections and downloads are its own.
    """
    if not use_case.serving.shadow:
        return None
    engine = open_engine(settings.store_url)
    reader = ProductionReader(
        use_case.name,
        settings.tracking_uri,
        artifacts=settings.artifacts_folder,
        downloads=settings.home_folder / "shadow",
    )

    def open_version(version: int) -> AnsweringProcess:
        folder = reader.download(version)
        reader.remove_others(version)
        return AnsweringProcess(
            folder, polite=True, tried=settings.tried_folder, request_seconds=60
        )

    return LiveShadow(
        use_case.name,
        WaitingCandidate(Journal(engine), use_case.name).find,
        open_version,
        ShadowRecords(engine, sync=settings.records_sync).write,
    )
