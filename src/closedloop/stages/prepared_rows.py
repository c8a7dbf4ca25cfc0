"""What the stage `prepare` leaves: the prepared rows of every window, with a digest of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import pandas as pd

from closedloop.bundle.files import write_json
from closedloop.errors import SourceError
from closedloop.stages.kept_fits import KeptFits
from closedloop.turn.compute import ReadWindow
from closedloop.use_case.contract import MISSING, UseCase
from closedloop.windows.sources import UnreadableWindow, WindowSource

WINDOWS_FILE = "windows.json"
Use = Literal["training", "evaluation", "training and evaluation", "none"]


@dataclass(frozen=True)
class PreparedWindow:
    """A window: what twins do with its rows, how many there are, and the sha256 of all of them.

    `file` holds the rows; it is empty for a window that breaks the contract, and `broken` says how.
    """

    name: str
    use: Use
    rows: int
    labelled_rows: int
    digest: str
    file: str
    broken: str


def write_rows(
    reads: Sequence[ReadWindow], uses: Mapping[str, Use], use_case: UseCase, folder: Path
) -> None:
    """Write the windows, oldest first, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    windows = []
    for read in reads:
        facts = read.facts
        file = "" if read.violations else f"{quote(facts.name, safe='')}.parquet"
        if file:
            _as_read(read.prepared, use_case).to_parquet(folder / file, index=False)
        windows.append(
            PreparedWindow(
                name=facts.name,
                use=uses.get(facts.name, "none"),
                rows=facts.rows,
                labelled_rows=facts.labelled_rows,
                digest=facts.digest,
                file=file,
                broken="; ".join(map(str, read.violations)),
            )
        )
    write_json(
        folder / WINDOWS_FILE,
        {
            "use_case": use_case.name,
            "contract": use_case.fingerprint,
            "windows": [asdict(window) for window in windows],
        },
    )


def _as_read(prepared: pd.DataFrame, use_case: UseCase) -> pd.DataFrame:
    """Prepared rows as a source would give them: null where a category is missing."""
    texts = [name for name in prepared if name not in use_case.numeric]
    return prepared.assign(
        **{str(name): prepared[name].where(prepared[name] != MISSING, None) for name in texts}
    )


class PreparedRows(WindowSource):
    """The windows that `write_rows` wrote, as a source."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _windows(self) -> dict[str, PreparedWindow]:
        path = self._folder / WINDOWS_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SourceError(
                where=str(path),
                wanted="what the stage prepare leaves",
                got="no such file",
                then="run that stage first, or all of them: dvc repro",
            ) from None
        return {window["name"]: PreparedWindow(**window) for window in content["windows"]}

    def windows(self) -> tuple[str, ...]:
        """Names, oldest first; raises SourceError when nothing was prepared."""
        return tuple(self._windows)

    def read(self, window: str) -> pd.DataFrame:
        """The rows of a window; raises UnreadableWindow for one that breaks the contract."""
        found = self._windows[window]
        if not found.file:
            raise UnreadableWindow(
                where=f"window {window}",
                wanted="rows that keep the contract",
                got=found.broken,
                then="correct the rows, or [columns] in loop.toml",
            )
        return pd.read_parquet(self._folder / found.file)


class PreparedCompute(KeptFits):
    """Reads rows whose contract was checked when they were prepared, from what the source held."""

    def read_window(
        self,
        source: WindowSource,
        name: str,
        index: int,
        use_case: UseCase,
        statistics: Mapping[str, Any] | None,
        not_yet: frozenset[str] = frozenset(),
    ) -> ReadWindow:
        """As `Compute`; a window without rows broke the contract, and no other."""
        read = super().read_window(source, name, index, use_case, statistics, not_yet)
        return replace(read, violations=()) if read.facts.rows else read
