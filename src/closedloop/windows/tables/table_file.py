"""Table files: their format, by their names."""

from __future__ import annotations

import difflib
from pathlib import Path

from closedloop.errors import SourceError

COMPRESSED = (".gz", ".zst")
_FEW_BYTES = 64
_TABLE_ENDINGS = (".csv", ".tsv", ".parquet")


def find_table(path: Path) -> str:
    """The ending that tells a table's format: '.csv' for a.csv and a.csv.gz.

    Raises SourceError when there is no such file, or its format is unknown.
    """
    if not path.is_file():
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        names = [file.name for file in beside if file.is_file() and is_table_name(file.name)]
        near = difflib.get_close_matches(path.name, names, n=1)
        raise SourceError(
            where=str(path),
            wanted="a CSV or Parquet file",
            got="a folder" if path.is_dir() else "no such file",
            then=f"did you mean {near[0]}?" if near else "name a file that exists",
        )
    ending = _ending(path)
    if ending not in _TABLE_ENDINGS:
        raise SourceError(
            where=str(path),
            wanted=f"a file ending in {', '.join(_TABLE_ENDINGS)} (or .csv.gz)",
            got=path.suffix or "no ending",
            then="convert or rename the file",
        )
    return ending


def holds_nothing(path: Path) -> bool:
    """Whether a file has no byte in it, or nothing but a byte order mark and line ends."""
    if path.stat().st_size > _FEW_BYTES:
        return False
    return not path.read_bytes().removeprefix(b"\xef\xbb\xbf").strip()


def is_table_name(name: str) -> bool:
    """Whether a file of this name is a table: it ends in .csv, .parquet, .csv.gz, ..."""
    return _ending(Path(name)) in _TABLE_ENDINGS


def _ending(path: Path) -> str:
    return (path.with_suffix("") if path.suffix in COMPRESSED else path).suffix.lower()
